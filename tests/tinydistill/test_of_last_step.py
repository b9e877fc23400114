"""Means over a step, and the assignment of layers by optimal transport."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from tinydistill.of_last_step import Assignment, StepMean, cheapest_flow


def by_linear_programming(cost: np.ndarray) -> float:
    """The least cost of a flow between layers of equal mass."""
    rows, columns = cost.shape
    sums = np.zeros((rows + columns, rows * columns))
    for i, j in itertools.product(range(rows), range(columns)):
        sums[i, i * columns + j] = sums[rows + j, i * columns + j] = 1
    masses = [1 / rows] * rows + [1 / columns] * columns
    return linprog(cost.ravel(), A_eq=sums, b_eq=masses).fun


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (2, 3), (4, 12), (6, 6)])
def test_the_cheapest_flow(rows: int, columns: int) -> None:
    cost = torch.rand(rows, columns, generator=torch.Generator().manual_seed(rows))
    flow = cheapest_flow(cost)
    assert flow.sum(0).tolist() == pytest.approx([1 / columns] * columns)
    assert flow.sum(1).tolist() == pytest.approx([1 / rows] * rows)
    assert (flow * cost).sum().item() == pytest.approx(by_linear_programming(cost.double().numpy()), rel=1e-5)


@pytest.mark.realdata
def test_textbrewers_flow(shared: Path) -> None:
    case = json.loads((shared / "reference" / "textbrewer_vectors.json").read_text())["emd"]
    flow = cheapest_flow(torch.tensor(case["distance"]))
    assert (flow * torch.tensor(case["distance"])).sum().item() == pytest.approx(case["cost"], rel=1e-5)
    torch.testing.assert_close(flow, torch.tensor(case["flow"]))


def test_an_assignment_follows_the_step_before() -> None:
    assignment = Assignment(2, 3)
    costs = torch.tensor([[1.0, 0.0, 2.0, 0.0, 3.0, 1.0], [1.0, 2.0, 0.0, 2.0, 1.0, 1.0]], requires_grad=True)
    first = assignment(costs)
    torch.testing.assert_close(first, costs.mean(1))  # all pairs alike
    assignment.end_step(lambda own: own)
    expected = cheapest_flow(costs.mean(0).view(2, 3)).view(-1)
    torch.testing.assert_close(assignment.flow, expected)
    second = assignment(costs)
    torch.testing.assert_close(second, costs @ expected)
    second.sum().backward()
    torch.testing.assert_close(costs.grad, expected.expand(2, 6))  # none through the weights


def test_an_assignment_that_lasts_some_steps() -> None:
    assignment = Assignment(2, 2, update_every=2)
    flows = []
    for cost in ([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]):
        assignment(torch.tensor([cost]))
        assignment.end_step(lambda own: own)
        flows.append(assignment.flow.tolist())
    assert flows == [[0.5, 0.0, 0.0, 0.5], [0.5, 0.0, 0.0, 0.5], [0.0, 0.5, 0.5, 0.0]]


def test_what_is_evaluated_does_not_count() -> None:
    assignment = Assignment(1, 2).eval()
    assignment(torch.tensor([[1.0, 2.0]]))
    assignment.train()
    assignment(torch.tensor([[3.0, 4.0]]))
    assignment.end_step(lambda own: own)
    assert assignment.cost.mean.tolist() == [3.0, 4.0]


def test_a_mean_over_batches_and_processes() -> None:
    values = torch.arange(6.0)
    whole, parts = StepMean(), StepMean()
    whole.add(values)
    parts.add(values[:4])
    parts.add(values[4:])
    for each in (whole, parts):
        each.end_step(lambda own: 2 * own)  # another process with the same examples
    assert whole.mean == parts.mean == 2.5
    assert parts.is_known
    parts.end_step(lambda own: own)  # a step without examples leaves it
    assert parts.mean == 2.5

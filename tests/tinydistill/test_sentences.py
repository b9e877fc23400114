"""The scores of tasks whose rows have one label, or one value, each."""

import numpy as np
import pytest

from glue_tasks import TASKS
from tinydistill.kinds import kind_of


def test_logits_are_scored_by_their_largest() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 0.5]])
    found = kind_of(TASKS["MNLI"]).score(logits, np.array([0, 2, 2]))
    assert found == {"accuracy": pytest.approx(2 / 3)}


def test_values_are_scored_by_all_metrics_of_the_task() -> None:
    found = kind_of(TASKS["STS-B"]).score(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    assert found == {"pearson": pytest.approx(1.0), "spearman": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("name", "references", "expected"),
    [("SST-2", [1, 1, 1, 0], 0.75), ("MNLI", [2, 2, 0, 1, 2], 0.6), ("CoLA", [1, 1, 0], 0.0), ("STS-B", [1, 4], 0.0)],
)
def test_chance_is_the_best_constant_answer(name: str, references: list[int], expected: float) -> None:
    assert kind_of(TASKS[name]).chance(np.array(references)) == expected

"""The scores of tasks whose rows have one label, or one value, each."""

from pathlib import Path

import numpy as np
import pytest

from glue_tasks import TASKS
from tinydistill.kinds import kind_of

from .of_tasks import of_labels


def test_logits_are_scored_by_their_largest(tmp_path: Path) -> None:
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 0.5]])
    found = kind_of(TASKS["MNLI"]).score(logits, of_labels([0, 2, 2], tmp_path))
    assert found == {"accuracy": pytest.approx(2 / 3)}


def test_values_are_scored_by_all_metrics_of_the_task(tmp_path: Path) -> None:
    dev = of_labels([2.0, 4.0, 6.0], tmp_path)
    found = kind_of(TASKS["STS-B"]).score(np.array([[1.0], [2.0], [3.0]]), dev)
    assert found == {"pearson": pytest.approx(1.0), "spearman": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("name", "references", "expected"),
    [("SST-2", [1, 1, 1, 0], 0.75), ("MNLI", [2, 2, 0, 1, 2], 0.6), ("CoLA", [1, 1, 0], 0.0), ("STS-B", [1, 4], 0.0)],
)
def test_chance_is_the_best_constant_answer(name: str, references: list[int], expected: float, tmp_path: Path) -> None:
    assert kind_of(TASKS[name]).chance(of_labels(references, tmp_path)) == expected

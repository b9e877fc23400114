"""Teachers and students that would train quietly to nothing are refused before a step is taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedConfig

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tinydistill import checks
from tinydistill.kinds import kind_of
from tinydistill.objectives import Objective
from tinydistill.options import Options
from tinydistill.phases import PHASES
from tinydistill.resolving import Sizes, resolve

from .conftest import PIECES, make_tokenizer, tiny_bert_config
from .of_tasks import of_labels

MNLI = TASKS["MNLI"]
REFERENCES = np.array([0, 0, 0, 1, 1, 2, 2, 2] * 5)


def logits_for(predictions: np.ndarray) -> np.ndarray:
    return np.eye(3)[predictions]


def test_a_teacher_at_chance(tmp_path: Path) -> None:
    dev = of_labels(REFERENCES, tmp_path)
    constant = logits_for(np.zeros(40, dtype=int))
    with pytest.raises(
        UserError, match=r"scores 0.375 \(accuracy\) on dev, no better than chance \(0.375\) as far as 40 rows can tell"
    ):
        checks.check_score(kind_of(MNLI), "t", constant, dev)
    assert "no better than chance" in checks.check_score(kind_of(MNLI), "t", constant, dev, required=False)


def test_a_good_teacher(tmp_path: Path) -> None:
    assert checks.check_score(kind_of(MNLI), "t", logits_for(REFERENCES), of_labels(REFERENCES, tmp_path)) == ""


def test_a_head_that_was_never_trained_is_refused_nearly_always(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    dev = of_labels(random.integers(0, 3, 400), tmp_path)
    refused = 0
    for _ in range(100):
        try:
            checks.check_score(kind_of(MNLI), "t", random.normal(size=(400, 3)), dev)
        except UserError:
            refused += 1
    assert refused >= 95


def test_a_regression_teacher_that_answers_always_the_same(tmp_path: Path) -> None:
    dev = of_labels([1.0, 2.0, 3.0, 4.0], tmp_path)
    with pytest.raises(UserError, match=r"scores 0.000 \(pearson\)"):
        checks.check_score(kind_of(TASKS["STS-B"]), "t", np.ones((4, 1)), dev)


def test_vocabularies() -> None:
    checks.check_vocabulary(make_tokenizer(), make_tokenizer(), "s")
    swapped = [*PIECES[:5], PIECES[6], PIECES[5], *PIECES[7:]]
    with pytest.raises(UserError, match="'good' is 5 and 6"):
        checks.check_vocabulary(make_tokenizer(), make_tokenizer(swapped), "s")
    with pytest.raises(UserError, match=r"the student s has another vocabulary \(24 pieces\)"):
        checks.check_vocabulary(make_tokenizer(), make_tokenizer(PIECES[:-1]), "s")
    with pytest.raises(UserError, match="26 pieces"):
        checks.check_vocabulary(make_tokenizer(), make_tokenizer([*PIECES, "more"]), "s")


def compare(teacher: PreTrainedConfig, student: PreTrainedConfig, goals: Sequence[Objective], **options: Any) -> None:
    resolve(goals, {}, Sizes.of(student), {"teacher": Sizes.of(teacher)}, Options(**options))


def test_a_student_that_does_not_fit() -> None:
    teacher, four_heads = tiny_bert_config(), tiny_bert_config(layers=2, heads=4)
    attention, hidden = both = PHASES["intermediate"].objectives
    with pytest.raises(UserError, match="student has 4 heads, the teacher 2.*--heads mean.*relations"):
        compare(teacher, four_heads, both)
    compare(teacher, four_heads, both, heads="mean")
    narrow = tiny_bert_config(layers=2, hidden_size=16)
    with pytest.raises(UserError, match="student is 16 wide, the teacher 24"):
        compare(teacher, narrow, both, projection="none")
    compare(teacher, narrow, both, projection="shared")
    compare(teacher, four_heads, [hidden])  # which needs no heads
    compare(teacher, narrow, [attention], projection="none")  # nor scores a width
    with pytest.raises(UserError, match="--max-length 33 is more than the student's 32 positions"):
        checks.check_positions(narrow, "student", 33)


@pytest.mark.parametrize("most", [0.75, 0.9, 0.97])
@pytest.mark.parametrize("task", ["SST-2", "MRPC"])
def test_a_perfect_teacher_of_a_skewed_dev_set(task: str, most: float, tmp_path: Path) -> None:
    references = (np.arange(102) < most * 102).astype(int)
    dev = of_labels(references, tmp_path)
    assert checks.check_score(kind_of(TASKS[task]), "t", np.eye(2)[references], dev) == ""


@pytest.mark.parametrize("task", ["SST-2", "MRPC", "CoLA"])
def test_a_random_head_is_refused_on_a_skewed_dev_set(task: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    dev = of_labels((random.random(200) < 0.8).astype(int), tmp_path)
    taken = 0
    for _ in range(100):
        leaning = random.normal(size=(200, 2)) + random.normal(size=2) * 3
        taken += not checks.check_score(kind_of(TASKS[task]), "t", leaning, dev, required=False)
    assert taken <= 5

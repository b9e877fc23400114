"""The order of a model's labels by its answers on dev: told where it is clear, and not where luck may be the reason."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill import label_order
from tinydistill.label_order import check_order, compare_orders, doubt

MNLI, SST2, TNEWS = TASKS["MNLI"], TASKS["SST-2"], TASKS["TNEWS"]


def outputs_for(predictions: np.ndarray, labels: int) -> np.ndarray:
    return np.eye(labels)[predictions]


def recall_by_hand(outputs: np.ndarray, references: np.ndarray) -> float:
    """Mean over the labels that occur of the share of their rows that are right, row by row."""
    right: dict[int, list[bool]] = {}
    for row, label in zip(outputs, references, strict=True):
        right.setdefault(int(label), []).append(max(range(len(row)), key=row.__getitem__) == label)
    return sum(sum(rows) / len(rows) for rows in right.values()) / len(right)


def lead_by_hand(outputs: np.ndarray, other: np.ndarray, references: np.ndarray) -> float:
    """McNemar's statistic, row by row, each row weighted by one over the rows of its label."""
    difference = variance = 0.0
    for mine, theirs, label in zip(outputs.argmax(-1), other.argmax(-1), references, strict=True):
        weight = 1 / (references == label).sum()
        step = int(mine == label) - int(theirs == label)
        difference += weight * step
        variance += weight**2 * abs(step)
    return difference / math.sqrt(variance) if variance else 0.0


@pytest.mark.parametrize("task", [SST2, MNLI], ids=lambda task: task.name)
@pytest.mark.parametrize("seed", range(5))
def test_orders_against_row_by_row(task, seed: int) -> None:
    random = np.random.default_rng(seed)
    count = task.num_labels
    references = random.choice(count, 60, p=np.arange(1, count + 1) / sum(range(1, count + 1)))
    outputs = random.normal(size=(60, count)) + 0.7 * np.eye(count)[random.permutation(count)[references]]
    recall, others = compare_orders(task, outputs, references)
    assert recall == pytest.approx(recall_by_hand(outputs, references))
    assert {each.places for each in others} == set(itertools.permutations(range(count))) - {tuple(range(count))}
    for each in others:
        reordered = outputs[:, each.places]
        assert each.recall == pytest.approx(recall_by_hand(reordered, references))
        assert each.lead == pytest.approx(lead_by_hand(outputs, reordered, references))
    assert [each.recall for each in others] == sorted((each.recall for each in others), reverse=True)


def test_many_labels_are_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """With six labels every order can still be tried, as the assignment does without."""
    six = replace(TNEWS, labels=TNEWS.labels[:6], label_codes=())
    random = np.random.default_rng(0)
    references = random.integers(0, 6, 200)
    outputs = random.normal(size=(200, 6)) + 1.5 * np.eye(6)[random.permutation(6)[references]]
    _, assigned = compare_orders(six, outputs, references)
    monkeypatch.setattr(label_order, "_ALL_ORDERS", 6)
    _, tried = compare_orders(six, outputs, references)
    assert len(tried) == math.factorial(6) - 1
    assert assigned[0] == tried[0]
    moving = [each for each in tried if all(i != place for i, place in enumerate(each.places))]
    assert moving[0] in assigned


REFERENCES = np.array([0, 0, 0, 1, 1, 2, 2, 2] * 5)


def told(task: Task, outputs: np.ndarray, references: np.ndarray, unnamed: bool) -> str:
    """The sentence: an error without names, a warning with them, which are believed."""
    if not unnamed:
        return check_order(task, "t", outputs, references, unnamed)
    with pytest.raises(UserError) as error:
        check_order(task, "t", outputs, references, unnamed)
    return str(error.value)


@pytest.mark.parametrize("unnamed", [True, False])
def test_outputs_in_another_order(unnamed: bool) -> None:
    """The first output means contradiction, the second entailment, the third neutral, whatever their names."""
    outputs = outputs_for(np.array([1, 2, 0])[REFERENCES], 3)
    found = told(MNLI, outputs, REFERENCES, unnamed)
    assert "labels of t are in the order contradiction, entailment, neutral, not in that" in found


def test_an_order_that_is_still_above_chance() -> None:
    """Two of three labels are swapped, the third is most of the rows."""
    references = np.array([0] * 60 + [1] * 20 + [2] * 20)
    outputs = outputs_for(np.array([0, 2, 1])[references], 3)
    assert (outputs.argmax(-1) == references).mean() == 0.6
    found = told(MNLI, outputs, references, unnamed=False)
    assert re.search("in the order entailment, contradiction, neutral.*1.000 .*0.333 as they stand", found)


@pytest.mark.parametrize("right", [1.0, 0.6])
def test_a_good_model(right: float) -> None:
    random = np.random.default_rng(0)
    references = random.integers(0, 3, 300)
    predictions = np.where(random.random(300) < right, references, random.integers(0, 3, 300))
    outputs = outputs_for(predictions, 3)
    check_order(MNLI, "t", outputs, references, unnamed=True)
    assert doubt(MNLI, "t", outputs, references) == ""


def test_a_frequent_label_proves_no_order() -> None:
    """90 of 100 rows right by one answer to all: in neither order does the model know anything."""
    references = np.array([0] * 90 + [1] * 10)
    for label in (0, 1):
        outputs = outputs_for(np.full(100, label), 2)
        check_order(SST2, "t", outputs, references, unnamed=True)
        assert (
            "100 dev rows cannot tell whether they are in the order negative, positive or positive, negative"
            in doubt(SST2, "t", outputs, references)
        )


def test_few_rows_prove_no_order() -> None:
    references = np.array([0, 1] * 5)
    predictions = references.copy()
    predictions[:3] = 1 - predictions[:3]  # 7 of 10 are right: 1.3 standard errors
    outputs = outputs_for(predictions, 2)
    check_order(SST2, "t", outputs, references, unnamed=True)
    assert doubt(SST2, "t", outputs, references)
    check_order(SST2, "t", 1 - outputs, references, unnamed=True)
    assert doubt(SST2, "t", 1 - outputs, references)


def test_names_count_for_something() -> None:
    """54% in the other order of 2,000 rows: told of a model without names, not held against one with names."""
    references = np.arange(2000) % 2
    predictions = np.where(np.arange(2000) % 100 < 54, 1 - references, references)
    outputs = outputs_for(predictions, 2)
    check_order(SST2, "t", outputs, references, unnamed=False)
    with pytest.raises(UserError, match="in the order positive, negative"):
        check_order(SST2, "t", outputs, references, unnamed=True)


def test_many_labels_some_of_which_have_no_rows() -> None:
    random = np.random.default_rng(0)
    references = random.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13], 300)
    predictions = np.where(random.random(300) < 0.5, references, random.integers(0, 15, 300))
    outputs = outputs_for(predictions, 15)
    check_order(TNEWS, "t", outputs, references, unnamed=True)
    assert doubt(TNEWS, "t", outputs, references) == ""
    shuffled = outputs[:, random.permutation(15)]
    with pytest.raises(UserError, match="by 300 dev rows the labels of t are in the order"):
        check_order(TNEWS, "t", shuffled, references, unnamed=True)
    swapped = outputs[:, [1, 0, *range(2, 15)]]
    with pytest.raises(UserError, match="are in the order news_culture, news_story, news_entertainment"):
        check_order(TNEWS, "t", swapped, references, unnamed=True)


def test_a_head_that_was_never_trained_is_hardly_ever_believed() -> None:
    random = np.random.default_rng(0)
    references = random.integers(0, 3, 400)
    believed = 0
    for _ in range(200):
        outputs = random.normal(size=(400, 3))
        try:
            check_order(MNLI, "t", outputs, references, unnamed=True)
        except UserError:
            continue
        believed += not doubt(MNLI, "t", outputs, references)
    assert believed <= 4


def few_rows_of_many_labels(seed: int, rows: int = 500, labels: int = 119) -> tuple[np.ndarray, np.ndarray]:
    """Three in five right, the frequent labels more than the rare ones, as of IFLYTEK's 119 labels."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, labels + 1)
    references = random.choice(labels, rows, p=shares / shares.sum())
    knows = np.clip(0.5 * shares**0.25 + 0.25, 0, 0.95)
    taken_for = random.integers(0, labels, (labels, 3))
    wrong = taken_for[references, random.integers(0, 3, rows)]
    return outputs_for(np.where(random.random(rows) < knows[references], references, wrong), labels), references


@pytest.mark.parametrize("unnamed", [True, False])
def test_of_many_orders_the_best_is_ahead_by_luck(unnamed: bool) -> None:
    """Of rare labels with a row or two, none of them right, another order takes what it finds."""
    task = replace(TNEWS, labels=tuple(f"label {i}" for i in range(119)), label_codes=())
    for seed in range(10):
        outputs, references = few_rows_of_many_labels(seed)
        recall, (best, *_) = compare_orders(task, outputs, references)
        assert best.lead < -2
        assert best.recall > recall + 0.08
        assert not check_order(task, "t", outputs, references, unnamed)
        shuffled = outputs[:, np.random.default_rng(seed).permutation(119)]
        assert "by 500 dev rows the labels of t are in the order" in told(task, shuffled, references, unnamed)


def test_a_row_a_label_tells_nothing() -> None:
    """A permutation that fits all fifteen rows is one of many that could."""
    check_order(TNEWS, "t", outputs_for(np.roll(np.arange(15), 1), 15), np.arange(15), unnamed=True)

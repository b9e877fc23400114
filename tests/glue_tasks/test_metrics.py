"""Scores against plain float64 formulas written from their definitions."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks import TASKS
from glue_tasks.metrics import METRICS, chance_score, score


def confusion(predictions: list[int], references: list[int]) -> tuple[int, int, int, int]:
    pairs = list(zip(predictions, references, strict=True))
    return tuple(pairs.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0)))  # type: ignore[return-value]


def plain_f1(predictions: list[int], references: list[int]) -> float:
    true, false, missed, _ = confusion(predictions, references)
    return 2 * true / (2 * true + false + missed) if true else 0.0


def plain_matthews(predictions: list[int], references: list[int]) -> float:
    tp, fp, fn, tn = confusion(predictions, references)
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(below) if below else 0.0


def plain_pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    dx, dy = [a - mean_x for a in x], [b - mean_y for b in y]
    below = math.sqrt(math.fsum(a * a for a in dx) * math.fsum(b * b for b in dy))
    return math.fsum(a * b for a, b in zip(dx, dy, strict=True)) / below if below else 0.0


def ranks(x: list[float]) -> list[float]:
    """From 1; ties share the mean of their ranks."""
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


labels = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
# Small whole numbers and halves: many ties, as in STS-B, and no cancellation that the plain formula would lose.
values = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=40)


@given(labels)
def test_classification(pairs: list[tuple[int, int]]) -> None:
    predictions, references = map(list, zip(*pairs, strict=True))
    arrays = np.array(predictions), np.array(references)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: METRICS[name](*arrays) for name in ("accuracy", "f1", "matthews")}
    assert found["accuracy"] == pytest.approx(sum(p == r for p, r in pairs) / len(pairs))
    assert found["f1"] == pytest.approx(plain_f1(predictions, references))
    assert found["matthews"] == pytest.approx(plain_matthews(predictions, references), abs=1e-12)


@given(values)
def test_regression(pairs: list[tuple[int, int]]) -> None:
    predictions, references = ([each / 2 for each in column] for column in zip(*pairs, strict=True))
    arrays = np.array(predictions), np.array(references)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pearson, spearman = METRICS["pearson"](*arrays), METRICS["spearman"](*arrays)
    assert pearson == pytest.approx(plain_pearson(predictions, references), abs=1e-12)
    assert spearman == pytest.approx(plain_pearson(ranks(predictions), ranks(references)), abs=1e-12)


def test_float32_outputs_are_scored_in_float64() -> None:
    random = np.random.default_rng(0)
    outputs = (1000 + random.normal(size=(500, 1))).astype(np.float32)
    references = (outputs[:, 0] + random.normal(size=500)).astype(np.float32)
    expected = plain_pearson(outputs[:, 0].tolist(), references.tolist())
    assert score(TASKS["STS-B"], outputs, references)["pearson"] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("outputs", [[3.0] * 4, [float("nan")] * 4], ids=["constant", "nan"])
def test_predictions_without_a_correlation_score_zero(outputs: list[float]) -> None:
    found = score(TASKS["STS-B"], np.array(outputs)[:, None], np.arange(4.0))
    assert found == {"pearson": 0.0, "spearman": 0.0}


def test_one_row_has_no_correlation() -> None:
    assert score(TASKS["STS-B"], np.ones((1, 1)), np.ones(1)) == {"pearson": 0.0, "spearman": 0.0}


def test_constant_labels_score_zero_by_matthews() -> None:
    assert score(TASKS["CoLA"], np.array([[0.0, 1.0]] * 4), np.array([0, 1, 1, 0])) == {"matthews": 0.0}


def test_logits_are_scored_by_their_largest() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 0.5]])
    assert score(TASKS["MNLI"], logits, np.array([0, 2, 2])) == {"accuracy": pytest.approx(2 / 3)}


def test_chance_is_the_best_constant_answer() -> None:
    assert chance_score(TASKS["SST-2"], np.array([1, 1, 1, 0])) == 0.75
    assert chance_score(TASKS["MNLI"], np.array([2, 2, 0, 1, 2])) == 0.6
    assert chance_score(TASKS["CoLA"], np.array([1, 1, 0])) == 0.0
    assert chance_score(TASKS["STS-B"], np.array([1.0, 4.0])) == 0.0

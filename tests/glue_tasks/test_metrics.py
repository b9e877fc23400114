"""Scores against plain float64 formulas written from their definitions."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.metrics import METRICS


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
    outputs = (1000 + random.normal(size=500)).astype(np.float32)
    references = (outputs + random.normal(size=500)).astype(np.float32)
    expected = plain_pearson(outputs.tolist(), references.tolist())
    assert METRICS["pearson"](outputs, references) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("outputs", [[3.0] * 4, [float("nan")] * 4, [1.0]], ids=["constant", "nan", "one row"])
def test_predictions_without_a_correlation_score_zero(name: str, outputs: list[float]) -> None:
    assert METRICS[name](np.array(outputs), np.arange(float(len(outputs)))) == 0.0


def test_constant_labels_score_zero_by_matthews() -> None:
    assert METRICS["matthews"](np.ones(4), np.array([0, 1, 1, 0])) == 0.0

"""Scores by name, and those of sentences from scikit-learn and scipy, on the scale -1..1 or 0..1."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics

Metric = Callable[[np.ndarray, np.ndarray], float]


def _correlation(correlate: Callable[..., tuple[float, float]]) -> Metric:
    def score(predictions: np.ndarray, references: np.ndarray) -> float:
        if len(predictions) < 2:
            return 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            # Models give float32, in which sums over a dev set lose the fifth digit.
            value = float(correlate(predictions.astype(np.float64), references.astype(np.float64))[0])
        # Constant predictions have no correlation; 0 sorts them below any model that learnt something.
        return 0.0 if np.isnan(value) else value

    return score


def _of_labels(measure: Callable[..., float], **options: Any) -> Metric:
    def score(predictions: np.ndarray, references: np.ndarray) -> float:
        with warnings.catch_warnings():
            # A model that gives every row of a small file the same label is told by its score, 0.
            warnings.filterwarnings("ignore", "A single label was found", UserWarning)
            return float(measure(references, predictions, **options))

    return score


def _accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    # Not scikit-learn's, whose checks take a millisecond: a permutation test scores 200 times.
    return float(np.mean(predictions == references))


METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    "f1": _of_labels(metrics.f1_score, zero_division=0.0),
    "matthews": _of_labels(metrics.matthews_corrcoef),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
    "micro_f1": _of_labels(metrics.f1_score, average="micro", zero_division=0.0),
    "macro_f1": _of_labels(metrics.f1_score, average="macro", zero_division=0.0),
}

OF_KIND = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman"),
    "multi-label": ("micro_f1", "macro_f1"),
    # Of what no array holds: the functions of entities.py and span_metrics.py.
    "tokens": ("entity_f1", "entity_precision", "entity_recall"),
    "spans": ("f1", "exact_match"),
}
NAMES = tuple(dict.fromkeys(name for names in OF_KIND.values() for name in names))
OF_TWO_LABELS = ("f1",)  # of the second one

"""Scores by name, from scikit-learn and scipy, on the scale -1..1 or 0..1."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn import metrics

from glue_tasks.task import Task

Metric = Callable[[np.ndarray, np.ndarray], float]


def _correlation(correlate: Callable[..., tuple[float, float]]) -> Metric:
    def score(predictions: np.ndarray, references: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)
            value = float(correlate(predictions, references)[0])
        # Constant predictions have no correlation; 0 sorts them below any model that learnt something.
        return 0.0 if np.isnan(value) else value

    return score


METRICS: dict[str, Metric] = {
    "accuracy": lambda predictions, references: float(metrics.accuracy_score(references, predictions)),
    "f1": lambda predictions, references: float(metrics.f1_score(references, predictions, zero_division=0.0)),
    "matthews": lambda predictions, references: float(metrics.matthews_corrcoef(references, predictions)),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}


def score(task: Task, outputs: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """The task's metrics.

    outputs: (examples, num_labels) logits, or (examples, 1) values for a regression.
    references: (examples,) label ids, or values.
    """
    predictions = outputs[:, 0] if task.is_regression else outputs.argmax(axis=-1)
    return {name: METRICS[name](predictions, references) for name in task.metrics}


def chance_score(task: Task, references: np.ndarray) -> float:
    """The best main-metric score of a model that gives every example the same answer."""
    if task.is_regression:
        return 0.0
    metric = METRICS[task.main_metric]
    return max(metric(np.full(len(references), label), references) for label in range(task.num_labels))

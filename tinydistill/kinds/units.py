"""What a bootstrap draws, and the metrics of each draw: rows; of tokens sentences, of spans questions.

Each metric here is a function of sums over the units, so that a draw is a row of weights (how often each unit is in
it), and 1,000 draws of 10,000 rows are one product of matrices. The formulas are those of the kind's own `score`; tests
hold the two equal. R draws, N units, C labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glue_tasks.metrics import METRICS

Scores = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Units:
    """The units of a dev split, in the order of its file, with a model's answers to them."""

    name: str  # what they are: "rows", "sentences", "questions"
    sizes: np.ndarray  # (N,): how long each is
    measure: str  # in what: "pieces", "tokens", "characters"
    scores: Scores  # weights (R, N), float64 -> each metric's values (R,)

    def __len__(self) -> int:
        return len(self.sizes)


def of_labels(predicted: np.ndarray, gold: np.ndarray, labels: int, metrics: Sequence[str]) -> Scores:
    """Of one label each. predicted, gold: ids (N,).

    Of C labels the correlation coefficient is R_K (Gorodkin 2004, doi 10.1016/j.compbiolchem.2004.09.006); 0 where it
    is 0/0, as in scikit-learn. F1 is of the second label.
    """
    hits = (predicted == gold).astype(np.float64)
    answers, truth = (np.eye(labels)[np.clip(ids, 0, labels - 1)] for ids in (predicted, gold))  # (N, C)

    def accuracy(weights: np.ndarray) -> np.ndarray:
        return weights @ hits / weights.sum(1)

    def f1(weights: np.ndarray) -> np.ndarray:
        both, said, true = (weights @ each for each in (hits * truth[:, 1], answers[:, 1], truth[:, 1]))
        return _ratio(2 * both, said + true)

    def matthews(weights: np.ndarray) -> np.ndarray:
        right, total = weights @ hits, weights.sum(1)
        said, true = weights @ answers, weights @ truth  # (R, C)
        covariance = right * total - (said * true).sum(1)
        spread = np.sqrt((total**2 - (said**2).sum(1)) * (total**2 - (true**2).sum(1)))
        return _ratio(covariance, spread)

    return _of({"accuracy": accuracy, "f1": f1, "matthews": matthews}, metrics, predicted, gold)


def of_values(predicted: np.ndarray, gold: np.ndarray, metrics: Sequence[str]) -> Scores:
    """Of one value each, (N,)."""
    x, y = predicted.astype(np.float64), gold.astype(np.float64)

    def pearson(weights: np.ndarray) -> np.ndarray:
        return _correlation(x[None], y[None], weights)

    def spearman(weights: np.ndarray) -> np.ndarray:
        return _correlation(weighted_ranks(x, weights), weighted_ranks(y, weights), weights)

    return _of({"pearson": pearson, "spearman": spearman}, metrics, predicted, gold)


def of_label_sets(predicted: np.ndarray, gold: np.ndarray, metrics: Sequence[str]) -> Scores:
    """Of any number of labels each. predicted, gold: (N, C) of 0 and 1."""
    both, said, true = (each.astype(np.float64) for each in (predicted * gold, predicted, gold))

    def micro_f1(weights: np.ndarray) -> np.ndarray:
        return _ratio(2 * weights @ both.sum(1), weights @ (said.sum(1) + true.sum(1)))

    def macro_f1(weights: np.ndarray) -> np.ndarray:
        return _ratio(2 * weights @ both, weights @ (said + true)).mean(1)

    return _of({"micro_f1": micro_f1, "macro_f1": macro_f1}, metrics, predicted, gold)


def of_entities(counts: np.ndarray, metrics: Sequence[str]) -> Scores:
    """Of the entities of sentences. counts: (N, 3), how many are correct, predicted and known."""

    def scores(weights: np.ndarray) -> dict[str, np.ndarray]:
        correct, predicted, known = (weights @ counts.astype(np.float64)).T
        found = {
            "entity_precision": _ratio(correct, predicted),
            "entity_recall": _ratio(correct, known),
            "entity_f1": _ratio(2 * correct, predicted + known),
        }
        return {name: found[name] for name in metrics}

    return scores


def of_means(values: Mapping[str, np.ndarray]) -> Scores:
    """Of metrics that are a mean over units, by name. values: (N,) of each."""

    def scores(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: weights @ each.astype(np.float64) / weights.sum(1) for name, each in values.items()}

    return scores


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, N): the rank of each value in a draw that has it `weights` (R, N) times; equal ones share their mean rank.

    The rank of a value that a draw lacks is any number.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    firsts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # of each run of equal ones
    sizes = np.add.reduceat(weights[:, order], firsts, axis=1)
    means = np.cumsum(sizes, axis=1) - sizes / 2 + 0.5
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(firsts)), np.diff([*firsts, len(values)]))
    return means[:, group]


def _of(
    known: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    metrics: Sequence[str],
    predicted: np.ndarray,
    gold: np.ndarray,
) -> Scores:
    """These metrics, of which one that has no formula here is computed draw by draw."""

    def one_by_one(name: str, weights: np.ndarray) -> np.ndarray:
        numbers = np.arange(len(gold))
        draws = (np.repeat(numbers, counts.astype(np.int64)) for counts in weights)
        return np.array([METRICS[name](predicted[rows], gold[rows]) for rows in draws])

    def scores(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: known[name](weights) if name in known else one_by_one(name, weights) for name in metrics}

    return scores


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's, (R,), of values (R, N) or (1, N); 0 where one side is constant."""
    total = weights.sum(1, keepdims=True)
    x, y = (each - (weights * each).sum(1, keepdims=True) / total for each in (x, y))
    products, squares_x, squares_y = ((weights * each).sum(1) for each in (x * y, x * x, y * y))
    is_constant = np.minimum(squares_x, squares_y) <= 1e-24 * total[:, 0]
    return np.where(is_constant, 0.0, _ratio(products, np.sqrt(squares_x * squares_y)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)

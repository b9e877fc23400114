"""How far dev scores can be trusted: bootstrap intervals, and a paired test of a difference.

A draw is as many units of the dev set (rows, sentences, questions) as it has, with replacement; all models are scored
on the same draws, so that a difference is of the same examples. Source: Efron and Tibshirani 1993, An Introduction to
the Bootstrap, chapters 13 and 16; for scores of language processing Berg-Kirkpatrick, Burkett and Klein 2012 (EMNLP).
R draws, N units.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinydistill.kinds.units import Units

DRAWS, SEED, LEVEL = 1_000, 0, 0.95
_AT_ONCE = 4_000_000  # weights, of 8 bytes


def weights(units: int, draws: int = DRAWS, seed: int = SEED) -> Iterator[np.ndarray]:
    """How often each unit is in each draw, (R, N) as float64, some draws at a time.

    The same for the same arguments, whatever is scored.
    """
    random = np.random.default_rng(seed)
    for start in range(0, draws, step := max(_AT_ONCE // max(units, 1), 1)):
        chosen = (random.integers(units, size=units) for _ in range(min(step, draws - start)))
        yield np.stack([np.bincount(each, minlength=units) for each in chosen]).astype(np.float64)


def drawn_scores(units: Units, draws: int = DRAWS, seed: int = SEED) -> dict[str, np.ndarray]:
    """Each metric on each draw, (R,); {} without units."""
    if not len(units):
        return {}
    parts = [units.scores(each) for each in weights(len(units), draws, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: np.ndarray, level: float = LEVEL) -> list[float]:
    """The percentile interval of values (R,): what is outside is as often below as above."""
    outside = 50 * (1 - level)
    return np.percentile(values, [outside, 100 - outside]).tolist()


def paired(own: float, other: float, own_drawn: np.ndarray, other_drawn: np.ndarray) -> dict[str, Any]:
    """The difference of two scores, its interval, and how often chance alone makes one as large.

    own_drawn, other_drawn: on the same draws, (R,). The p-value is two-sided: the share of draws whose difference is
    as far from the one that was measured as that is from 0; the measured one counts as a draw, so that it is never 0.
    """
    difference, drawn = own - other, own_drawn - other_drawn
    as_far = np.abs(drawn - difference) >= abs(difference) - 1e-12  # sums in another order differ in the last digit
    return {
        "difference": difference,
        "interval": interval(drawn),
        "p_value": (1 + int(as_far.sum())) / (1 + len(drawn)),
    }


def intervals(drawn: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """The interval of each metric."""
    return {name: interval(values) for name, values in drawn.items()}

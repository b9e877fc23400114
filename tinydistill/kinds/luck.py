"""Whether a score could be luck."""

from collections.abc import Callable

import numpy as np

_SHUFFLES, _AS_GOOD = 200, 5  # of 200 shuffles of the labels at most 5 may score as well: p < 0.025


def beats_shuffles(score: Callable[[np.ndarray], float], gold: np.ndarray) -> bool:
    """A permutation test: whether answers score better than nearly always when the labels (N, ...) are shuffled.

    Other than a distance from a constant answer's score, this also tells a good model where nearly all rows have the
    same label. score: of labels in the place of the gold ones.
    """
    reached, random, as_good = score(gold), np.random.default_rng(0), 0
    for _ in range(_SHUFFLES):
        as_good += score(random.permutation(gold)) >= reached
        if as_good >= _AS_GOOD:
            return False
    return True

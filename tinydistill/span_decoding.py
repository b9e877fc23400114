"""From start and end logits of the windows of a context to spans of its text.

As in BERT's code for SQuAD (github.com/google-research/bert, run_squad.py): the best starts and ends of each window
make spans, of which those of all windows are ranked by the sum of both logits. A start counts in the one window in
which it has most context on its shorter side. A question may be without an answer: the least null score (start and end
logit of [CLS]) of its windows is then what spans compete with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

N_BEST = 20  # starts, ends and spans looked at


class Span(NamedTuple):
    """Characters of the context, from `start` to before `end`, and the sum of the two logits."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Window:
    """One window of a question's context, of K pieces."""

    logits: np.ndarray  # (K, 2): start and end
    offsets: np.ndarray  # (K, 2): characters of the context, from and to before
    first: int  # which piece of the context is its first
    null: float = 0.0  # the sum of both logits of [CLS]


class Decoded(NamedTuple):
    spans: list[Span]  # the best first
    null: float  # the least null score of the windows


def decode(windows: Sequence[Window], longest: int, n_best: int = N_BEST) -> Decoded:
    """The best spans of one question, no two of the same characters. longest: pieces of an answer, at most."""
    parts = [_spans_of(window, owned, longest, n_best) for window, owned in zip(windows, _owned(windows), strict=True)]
    starts, ends, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    ranked = np.lexsort((ends, starts, -scores))
    _, firsts = np.unique(np.stack([starts, ends])[:, ranked], axis=1, return_index=True)
    chosen = ranked[np.sort(firsts)[:n_best]]
    spans = zip(starts[chosen].tolist(), ends[chosen].tolist(), scores[chosen].tolist(), strict=True)
    return Decoded([Span(*each) for each in spans], min(window.null for window in windows))


def _owned(windows: Sequence[Window]) -> list[np.ndarray]:
    """For each window which of its pieces it has more context for than any other one, (K,) bool; ties go to the first.

    As `_check_is_max_context` in BERT's code, without its preference for longer windows.
    """
    if len(windows) == 1:
        return [np.ones(len(windows[0].logits), dtype=bool)]
    count = max(window.first + len(window.logits) for window in windows)
    most, owner = np.full(count, -1), np.zeros(count, dtype=int)
    for number, window in enumerate(windows):
        places = np.arange(len(window.logits))
        context = np.minimum(places, places[::-1])
        part = slice(window.first, window.first + len(places))
        better = context > most[part]
        owner[part][better], most[part][better] = number, context[better]
    return [owner[w.first : w.first + len(w.logits)] == number for number, w in enumerate(windows)]


def _spans_of(window: Window, owned: np.ndarray, longest: int, n_best: int) -> tuple[np.ndarray, ...]:
    """Pairs of one of the best starts and one of the best ends: their first and last characters, and the sums of their
    logits, (spans,) each."""
    logits = window.logits.astype(np.float64)
    starts = _largest(np.where(owned, logits[:, 0], -np.inf), n_best)
    ends = _largest(logits[:, 1], n_best)
    fits = (ends >= starts[:, None]) & (ends < starts[:, None] + longest) & owned[starts][:, None]
    firsts, lasts = (places[at] for places, at in zip((starts, ends), np.nonzero(fits), strict=True))
    from_, to = window.offsets[firsts, 0], window.offsets[lasts, 1]
    is_text = from_ < to
    sums = logits[firsts, 0] + logits[lasts, 1]
    return from_[is_text], to[is_text], sums[is_text]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest values, the largest first; of equal ones the first."""
    return np.argsort(-values, kind="stable")[:count]


def probabilities(scores: Sequence[float]) -> list[float]:
    """The softmax over a question's spans, as the official n-best file has it."""
    if not scores:
        return []
    powers = np.exp(np.array(scores) - max(scores))
    return (powers / powers.sum()).tolist()


def by_question(
    windows_of: Mapping[int, Sequence[Window]], questions: int, longest: int, n_best: int = N_BEST
) -> list[Decoded]:
    """What each question's windows come to; of one without windows nothing."""
    return [
        decode(windows_of[number], longest, n_best) if number in windows_of else Decoded([], 0.0)
        for number in range(questions)
    ]

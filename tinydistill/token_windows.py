"""Sentences of tokens as the pieces of examples: one, or windows where a sentence is too long."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from tinydistill.pieces import Pieces

_MARGIN = 4  # a quarter of a window, at either side, may be context alone
_LONGEST = 2  # half of a window is the most that a token gets: an address may be longer than all of it


def by_token(tokens: Sequence[str], pieces: Pieces, gap: int, unknown: int) -> list[list[int]]:
    """The pieces that begin in each token; the unknown one for a token in which none begins.

    pieces: of the tokens joined with `gap` characters between.
    """
    starts = list(accumulate((len(token) + gap for token in tokens), initial=0))
    found: list[list[int]] = [[] for _ in tokens]
    for id, start in zip(pieces.ids, pieces.starts, strict=True):
        found[bisect_right(starts, start, hi=len(tokens)) - 1].append(id)
    return [ids or [unknown] for ids in found]


def windows(tokens: Sequence[Sequence[int]], room: int) -> Iterator[tuple[list[int], list[int], tuple[int, int]]]:
    """The pieces of each window, the places of the first pieces of the tokens that count in it, and which these are,
    from the first to before the last.

    tokens: the pieces of each. room: how many pieces a window holds, at least one. Each token counts in one window,
    which has as much of the sentence on both sides of it as there is room for.
    """
    cut = [pieces[: max(room // _LONGEST, 1)] for pieces in tokens]
    ends = list(accumulate(map(len, cut), initial=0))  # ends[i]: pieces before token i
    margin, count, first = room // _MARGIN, len(cut), 0
    while first < count:
        left = bisect_left(ends, ends[first] - margin, hi=first)
        limit = ends[left] + room
        right = bisect_right(ends, limit) - 1  # the window ends before this token
        end = count if right == count else max(bisect_right(ends, limit - margin) - 1, first + 1)
        ids = [id for pieces in cut[left:right] for id in pieces]
        yield ids, [ends[i] - ends[left] for i in range(first, end)], (first, end)
        first = end

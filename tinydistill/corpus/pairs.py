"""Pairs of texts, half of them with a random second one, as BERT and TinyBERT's general distillation have them.

References: Devlin et al. 2019, arXiv 1810.04805, appendix A.2; TinyBERT's pregenerate_training_data.py.
Both texts are places among a corpus's pieces, which are not copied. What is drawn follows from the seed, the epoch and
the document, so that shards, processes and a resume change nothing.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tinydistill.corpus.held_out import Part
from tinydistill.corpus.index import unnamed

PAIR = np.dtype(
    [
        ("first", np.int64),
        ("first_length", np.uint32),
        ("second", np.int64),
        ("second_length", np.uint32),
        ("is_random", np.bool_),
    ]
)
SHORT_SHARE = 0.1  # of the documents, whose pairs are shorter than there is room for: --short_seq_prob
_SHORTEST = 2  # pieces
_AT_ONCE = 1 << 16  # documents
_STREAM = 2  # of the seed: no other draw of the run, such as noise or the order of rows, has the same
Random = np.random.Generator


class Pair(NamedTuple):
    """As `PAIR` has it: where each text begins among the pieces, and how many it has."""

    first: int
    first_length: int
    second: int
    second_length: int
    is_random: bool


class OtherDocuments:
    """Draws a document, of those of a part of a corpus but one, in proportion to its lines.

    Has two numbers for each document, in files: a corpus may have as many documents as lines.
    """

    def __init__(self, part: Part):
        folder = part.corpus.folder
        self.first = unnamed(folder, (block[:, 0] for block in _segments(part)), np.int64)  # (documents,) lines
        self.before = unnamed(folder, _lines_before(part), np.int64)  # (documents + 1,) lines before each

    def draw(self, own: int, random: Random) -> tuple[int, int]:
        """The lines of another document than that of this place among them."""
        start, end, total = (int(self.before[at]) for at in (own, own + 1, -1))
        line = int(random.random() * (total - (end - start)))
        line += (end - start) * (line >= start)
        other = int(np.searchsorted(self.before, line, side="right")) - 1
        first = int(self.first[other])
        return first, first + int(self.before[other + 1] - self.before[other])


def _segments(part: Part) -> Iterator[np.ndarray]:
    """Of each document, from which line to before which: (documents, 2), some at a time."""
    segments = part.segments()
    while block := list(itertools.islice(segments, _AT_ONCE)):
        yield np.array(block, dtype=np.int64)


def _lines_before(part: Part) -> Iterator[np.ndarray]:
    total = np.zeros(1, np.int64)
    yield total
    for block in _segments(part):
        ends = total[-1] + np.cumsum(block[:, 1] - block[:, 0])  # (documents,)
        yield ends
        total = ends[-1:]


def pairs_of_part(part: Part, room: int, seed: int, epoch: int, short_share: float = SHORT_SHARE) -> Iterator[Pair]:
    """The pairs of all documents, one document's after the other's. room: pieces of both texts."""
    lines, documents = part.corpus.lines, part.corpus.documents
    others = OtherDocuments(part)
    for place, (first, last) in enumerate(part.segments()):
        document = int(np.searchsorted(documents, first, side="right")) - 1
        random = np.random.default_rng((seed, epoch, document, _STREAM))
        draw = lambda random, place=place: others.draw(place, random)  # noqa: E731
        yield from pairs_of(lines, first, last, draw, room, random, short_share)


def pairs_of(
    lines: np.ndarray,
    first: int,
    last: int,
    draw: Callable[[Random], tuple[int, int]],
    room: int,
    random: Random,
    short_share: float = SHORT_SHARE,
) -> Iterator[Pair]:
    """The pairs of a document, which has the lines from `first` to before `last`.

    Lines are gathered until they have as many pieces as there is room for, or in a share of the documents fewer, or the
    document ends. They are parted at a random place. The second part is, as a coin falls and always of a single line,
    replaced by lines of another document, from a random one on; those that it replaces begin the next pair. What is
    longer then loses its first or last piece, as a coin falls, until there is room for both.
    draw: gives the lines of another document. lines: (L + 1,) where each begins among the pieces.
    """
    target = room
    if random.random() < short_share:
        target = _SHORTEST + int(random.random() * (room - _SHORTEST + 1))
    begin = first
    while begin < last:
        end = _gathered(lines, begin, last, target)
        parted = begin + 1
        if end - begin >= 2:
            parted += int(random.random() * (end - begin - 1))
        is_random = end - begin == 1 or random.random() < 0.5
        a = _range(lines, begin, parted)
        if is_random:
            other, other_last = draw(random)
            other += int(random.random() * (other_last - other))
            wanted = max(target - (a[1] - a[0]), 1)
            b = _range(lines, other, _gathered(lines, other, other_last, wanted))
            begin = parted
        else:
            b = _range(lines, parted, end)
            begin = end
        a, b = truncated(a, b, room, random)
        yield Pair(a[0], a[1] - a[0], b[0], b[1] - b[0], is_random)


def _gathered(lines: np.ndarray, begin: int, last: int, target: int) -> int:
    """Behind the lines from `begin` on that have `target` pieces, one at least; or behind the last one."""
    ends = lines[begin + 1 : min(begin + target, last) + 1]  # each line has a piece or more
    found = int(np.searchsorted(ends, int(lines[begin]) + target, side="left"))
    return min(begin + found + 1, last)


def _range(lines: np.ndarray, begin: int, end: int) -> tuple[int, int]:
    return int(lines[begin]), int(lines[end])


def truncated(
    a: tuple[int, int], b: tuple[int, int], room: int, random: Random
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Both texts, from which piece to before which, with at most `room` pieces together.

    The longer one (the second, if they are alike) loses a piece at a time, its first as a coin falls, else its last.
    """
    lengths = a[1] - a[0], b[1] - b[0]
    excess = sum(lengths) - room
    if excess <= 0:
        return a, b
    from_front = random.random(excess) < 0.5
    alone = min(excess, abs(lengths[0] - lengths[1]))  # lost by the longer one, until both are alike
    of_a, of_b = from_front[alone + 1 :: 2], from_front[alone::2]  # then by both in turn
    if lengths[0] > lengths[1]:
        of_a = np.append(from_front[:alone], of_a)
    else:
        of_b = np.append(from_front[:alone], of_b)
    return _without(a, of_a), _without(b, of_b)


def _without(text: tuple[int, int], from_front: np.ndarray) -> tuple[int, int]:
    front = int(np.count_nonzero(from_front))
    return text[0] + front, text[1] - (len(from_front) - front)

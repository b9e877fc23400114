"""Which documents of a corpus are trained on, and which are held out to validate on.

A document is held out by a hash of the seed and its place in the corpus: neither the order in which documents are read
nor the number of processes changes it, and nothing is kept for each document.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from glue_tasks.errors import UserError, warn_once
from tinydistill.corpus.packing import row_bounds
from tinydistill.corpus.store import Corpus

_AT_ONCE = 1 << 16  # documents
_ALL = 1 << 64  # hashes


@dataclass(frozen=True)
class Part:
    """The documents of a corpus whose hash is from `lowest` to below `highest`; of those, the lines of `lines` alone
    where it is parted by lines.
    """

    corpus: Corpus
    seed: int
    lowest: int = 0
    highest: int = _ALL
    lines: tuple[int, int] | None = None

    def documents(self) -> Iterator[np.ndarray]:
        """The numbers of the documents, in ascending order, some at a time."""
        for numbers, hashes in _hashed(self.corpus, self.seed):
            # The highest hash of all would not fit into 64 bits as a limit.
            is_in = (hashes >= np.uint64(self.lowest)) & (hashes <= np.uint64(self.highest - 1))
            yield numbers[is_in]

    def segments(self) -> Iterator[tuple[int, int]]:
        """The lines of each document, or what there is of them: from which line to before which."""
        borders = self.corpus.documents
        first, last = self.lines or (0, int(borders[-1]))
        for numbers in self.documents():
            for start, end in zip(borders[numbers].tolist(), borders[numbers + 1].tolist(), strict=True):
                if start < last and end > first:
                    yield max(start, first), min(end, last)

    def decided_by(self) -> str:
        """For a key: with the corpus, all that decides its documents."""
        return f"{self.seed} {self.lowest} {self.highest} {self.lines}"


def hashes_of(documents: np.ndarray, seed: int) -> np.ndarray:
    """A number of 64 bits for each document (N,), no two alike: SplitMix64 (Steele et al. 2014)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        mixed = np.full(1, seed % _ALL, dtype=np.uint64)
        for of in (np.zeros(1, dtype=np.uint64), documents.astype(np.uint64)):  # the seed is mixed by itself first
            mixed = mixed + (of + np.uint64(1)) * step
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def hold_out(corpus: Corpus, held_out: float, seed: int, room: int, pairs: bool = False) -> tuple[Part, Part | None]:
    """The part to train on and the part to validate on: whole documents, as the seed has it.

    held_out: a share of the documents, below 1; or a number of rows at least, of `room` pieces; 0: none. One document
    is held out in any case, and for pairs two, since a random second text is another document's.
    Where that would be more than half of the text, the corpus is parted between two lines instead, with a warning: its
    end is held out; but not for pairs. Raises UserError if more than half is asked for, or a corpus is too small.
    """
    least = 2 if pairs else 1
    count = len(corpus.documents) - 1
    if held_out < 0 or (held_out > 1 and held_out % 1):
        raise UserError(f"{held_out} cannot be held out; give a share below 0.5 or a whole number of rows")
    if count < least * (1 + (held_out > 0)):
        if pairs:
            raise UserError(
                f"the corpus has {count} document{'s' * (count != 1)}, and pairs need {least * (1 + (held_out > 0))}: "
                "a random second text is another document's; put blank lines between documents, or train on packed rows"
            )
        highest = _ALL
    elif not held_out:
        return Part(corpus, seed), None
    elif held_out < 1:
        highest = max(int(held_out * _ALL), _nth_lowest(corpus, seed, least) + 1)
    else:
        highest = max(_until_rows(corpus, seed, int(held_out), room), _nth_lowest(corpus, seed, least) + 1)
    validation = Part(corpus, seed, highest=highest)
    if pairs and not _leaves(validation, least):
        raise UserError(
            f"holding out {_asked(held_out, room)} leaves fewer than two of the corpus's {count} documents to train "
            "on; hold out less"
        )
    if pairs or _pieces(validation) * 2 <= len(corpus.pieces):
        return Part(corpus, seed, lowest=highest), validation
    return _by_lines(corpus, held_out, seed, room)


def _asked(held_out: float, room: int) -> str:
    return f"{held_out:g} of it" if held_out < 1 else f"{held_out:g} rows of {room} pieces"


def _by_lines(corpus: Corpus, held_out: float, seed: int, room: int) -> tuple[Part, Part]:
    total, lines = len(corpus.pieces), len(corpus.lines) - 1
    wanted = total * held_out if held_out < 1 else held_out * room
    # The last line that leaves as much behind it.
    border = int(np.searchsorted(corpus.lines, total - wanted, side="right")) - 1
    border = min(max(border, 0), lines - 1)
    if border < 1 or (total - int(corpus.lines[border])) * 2 > total:
        raise UserError(
            f"the corpus has {total:,} pieces in {lines:,} line{'s' * (lines != 1)}, too few to hold out "
            f"{_asked(held_out, room)}; hold out less, or give more text"
        )
    documents = len(corpus.documents) - 1
    warn_once(
        f"the corpus has {documents:,} document{'s' * (documents != 1)}: its last {lines - border:,} of {lines:,} "
        "lines are held out, for whole documents would be more than half of it"
    )
    return Part(corpus, seed, lines=(0, border)), Part(corpus, seed, lines=(border, lines))


def _hashed(corpus: Corpus, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    count = len(corpus.documents) - 1
    for first in range(0, count, _AT_ONCE):
        numbers = np.arange(first, min(first + _AT_ONCE, count))
        yield numbers, hashes_of(numbers, seed)


def _lowest(corpus: Corpus, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The documents of the lowest hashes, and these, in ascending order: (count,) each, or fewer."""
    kept, of_kept = np.empty(0, np.int64), np.empty(0, np.uint64)
    for numbers, hashes in _hashed(corpus, seed):
        kept, of_kept = np.append(kept, numbers), np.append(of_kept, hashes)
        order = np.argsort(of_kept)[:count]
        kept, of_kept = kept[order], of_kept[order]
    return kept, of_kept


def _nth_lowest(corpus: Corpus, seed: int, nth: int) -> int:
    return int(_lowest(corpus, seed, nth)[1][-1])


def _until_rows(corpus: Corpus, seed: int, rows: int, room: int) -> int:
    """Above the hashes of so many documents as fill these rows; of all, where they do not."""
    numbers, hashes = _lowest(corpus, seed, rows)  # each fills a row at least
    for number, found in zip(numbers.tolist(), hashes.tolist(), strict=True):
        first, last = corpus.documents[number : number + 2].tolist()
        rows -= sum(1 for _ in row_bounds(corpus.lines, first, last, room))
        if rows <= 0:
            return found + 1
    return _ALL


def _pieces(part: Part) -> int:
    borders = part.corpus.lines
    documents = part.corpus.documents
    return sum(
        int((borders[documents[numbers + 1]] - borders[documents[numbers]]).sum()) for numbers in part.documents()
    )


def _leaves(part: Part, least: int) -> bool:
    """Whether so many documents are not in it."""
    held = sum(len(numbers) for numbers in part.documents())
    return len(part.corpus.documents) - 1 - held >= least

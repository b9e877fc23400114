"""Rows of whole lines: as many as there is room for. A row is a place among a corpus's pieces; nothing is copied."""

from collections.abc import Iterable, Iterator

import numpy as np

ROW = np.dtype([("start", np.int64), ("length", np.uint32)])


def row_bounds(lines: np.ndarray, first: int, last: int, room: int) -> Iterator[tuple[int, int]]:
    """From which piece to before which each row is, of the lines from `first` to before `last`.

    A row ends with the last line that it has room for. Where there is room for none, it is full, and what is left of
    the line begins the next row; so each piece is in one row. lines: (L + 1,) where each begins among the pieces.
    """
    start, stop = int(lines[first]), int(lines[last])
    at = first  # the line that `start` is in
    while start < stop:
        # Each line has a piece or more: no other can end within the room.
        ends = lines[at + 1 : min(at + room, last) + 1]
        fitting = int(np.searchsorted(ends, start + room, side="right"))
        end = int(ends[fitting - 1]) if fitting else start + room
        yield start, end
        start, at = end, at + fitting


def pack(segments: Iterable[tuple[int, int]], lines: np.ndarray, room: int, mix_documents: bool) -> Iterator[tuple]:
    """Rows of at most `room` pieces as `ROW` has them. segments: the lines of each document, in ascending order.

    mix_documents: whether a row may go on with the next document, where that follows in the corpus.
    """
    for first, last in _joined(segments) if mix_documents else segments:
        for start, end in row_bounds(lines, first, last, room):
            yield start, end - start


def _joined(segments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Segments that follow each other without a gap as one."""
    begun: tuple[int, int] | None = None
    for first, last in segments:
        if begun and begun[1] == first:
            begun = begun[0], last
            continue
        if begun:
            yield begun
        begun = first, last
    if begun:
        yield begun

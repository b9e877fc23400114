"""Spans from start and end logits, against trying all of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_tasks.rows import Answer
from tinydistill.kinds.spans import _pieces_of_answer, starts_of_windows
from tinydistill.pieces import Pieces
from tinydistill.span_decoding import Decoded, Span, Window, by_question, decode, probabilities


def windows_of(seed: int, count: int, room: int, stride: int, ties: bool) -> list[Window]:
    """Windows of a context of `count` pieces, of which some share their characters and some have none."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(0, 3, count)
    ends = np.cumsum(sizes + 1)
    places = np.stack([ends - sizes, ends], 1)  # one character between; (a, a) of a piece without any
    shared = draw.random(count) < 0.2
    for i in range(1, count):
        if shared[i]:  # pieces of one word, as of SentencePiece by character
            places[i] = places[i - 1]
    found = []
    for first in starts_of_windows(count, room, stride):
        own = places[first : first + room].astype(np.int32)
        logits = draw.integers(-2, 3, own.shape) if ties else 4 * draw.normal(size=own.shape)
        found.append(Window(logits.astype(np.float32), own, first, float(draw.normal())))
    return found


def plain(windows: Sequence[Window], longest: int, n_best: int) -> Decoded:
    """All starts and ends of all windows, one after another."""
    spans: list[tuple[float, int, int]] = []
    for number, window in enumerate(windows):
        size = len(window.logits)
        starts = [start for start in range(size) if owner_of(windows, window.first + start) == number]
        best_starts = best_of({start: float(window.logits[start, 0]) for start in starts}, n_best)
        best_ends = best_of({end: float(window.logits[end, 1]) for end in range(size)}, n_best)
        for start in best_starts:
            for end in best_ends:
                if start <= end < start + longest:
                    first, last = int(window.offsets[start, 0]), int(window.offsets[end, 1])
                    if first < last:
                        spans.append((float(window.logits[start, 0]) + float(window.logits[end, 1]), first, last))
    chosen: dict[tuple[int, int], float] = {}
    for score, first, last in sorted(spans, key=lambda span: (-span[0], span[1], span[2])):
        chosen.setdefault((first, last), score)
    ranked = [Span(first, last, score) for (first, last), score in chosen.items()]
    return Decoded(ranked[:n_best], min(window.null for window in windows))


def owner_of(windows: Sequence[Window], place: int) -> int:
    """The first window in which a piece of the context has most context on its shorter side."""
    scores = []
    for window in windows:
        before, behind = place - window.first, window.first + len(window.logits) - 1 - place
        scores.append(min(before, behind) if before >= 0 and behind >= 0 else -1)
    return scores.index(max(scores))


def best_of(values: dict[int, float], count: int) -> list[int]:
    return sorted(values, key=lambda place: (-values[place], place))[:count]


@given(
    st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.booleans()
)
@settings(max_examples=100)
def test_against_all_spans(seed: int, count: int, room: int, stride: int, longest: int, ties: bool) -> None:
    """A window has at most 20 pieces here, so that all of its starts and ends are looked at."""
    windows = windows_of(seed, count, room, stride, ties)
    got, expected = decode(windows, longest), plain(windows, longest, 20)
    assert got == expected
    assert len({(span.start, span.end) for span in got.spans}) == len(got.spans) <= 20
    assert decode(windows, longest, n_best=1).spans == plain(windows, longest, 1).spans


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 6))
@settings(max_examples=60)
def test_the_best_starts_and_ends_of_longer_windows(seed: int, count: int, n_best: int) -> None:
    windows = windows_of(seed, count, room=40, stride=15, ties=False)
    assert decode(windows, 12, n_best) == plain(windows, 12, n_best)


def window(starts: Sequence[float], ends: Sequence[float], first: int = 0, null: float = 0.0) -> Window:
    """Pieces of one character each, without spaces between."""
    places = np.arange(first, first + len(starts), dtype=np.int32)
    return Window(np.array([starts, ends], dtype=np.float32).T, np.stack([places, places + 1], 1), first, null)


def test_the_end_is_not_before_the_start() -> None:
    found = decode([window([0, 0, 9], [9, 0, 0])], 30)
    assert found.spans[0] == Span(0, 1, 9.0)
    assert Span(2, 3, 9.0) in found.spans
    assert all(span.start < span.end for span in found.spans)


def test_the_longest_answer_counts_pieces() -> None:
    only = window([9, 0, 0, 0], [0, 0, 5, 9])
    assert decode([only], 4).spans[0] == Span(0, 4, 18.0)
    assert decode([only], 3).spans[0] == Span(0, 3, 14.0)
    assert decode([only], 1).spans[0] == Span(0, 1, 9.0)


def test_a_start_counts_where_it_has_most_context() -> None:
    """Piece 4 is the last but one of the first window, and in the middle of the second."""
    first, second = window([0, 0, 0, 0, 50, 0], [0] * 6), window([0, 0, 0, 1, 0], [0] * 5, first=2)
    best = decode([first, second], 1).spans[0]
    assert best == Span(5, 6, 1.0)
    assert decode([first], 1).spans[0] == Span(4, 5, 50.0)


def test_the_least_null_score_of_the_windows() -> None:
    both = [window([1, 2], [3, 4], null=7.0), window([0, 0], [0, 0], first=1, null=-2.0)]
    assert decode(both, 5).null == -2.0


def test_a_context_without_pieces_has_no_span() -> None:
    empty = Window(np.zeros((0, 2), dtype=np.float32), np.zeros((0, 2), dtype=np.int32), 0, 1.5)
    assert decode([empty], 30) == Decoded([], 1.5)
    assert by_question({1: [empty]}, 3, 30) == [Decoded([], 0.0), Decoded([], 1.5), Decoded([], 0.0)]


@pytest.mark.parametrize("scores", [[], [0.0], [3.0, 1.0, -800.0], [1000.0, 999.0]])
def test_probabilities(scores: list[float]) -> None:
    found = probabilities(scores)
    shares = [math.exp(score - max(scores)) for score in scores]
    assert found == pytest.approx([share / sum(shares) for share in shares])


@given(st.integers(0, 200), st.integers(1, 40), st.integers(1, 50))
def test_windows_are_those_of_bert(count: int, room: int, stride: int) -> None:
    """As run_squad.py makes them, by no more than a window's length; one of an empty context."""
    expected, start = [], 0
    while True:
        expected.append(start)
        if start + room >= count:
            break
        start += min(room, stride)
    assert list(starts_of_windows(count, room, stride)) == expected
    held = {place for first in expected for place in range(first, min(first + room, count))}
    assert held == set(range(count))


@given(st.data())
def test_the_pieces_of_an_answer_are_those_that_hold_some_of_it(data: Any) -> None:
    """Also where several pieces share their characters, or spaces lie between."""
    sizes = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=9)
    )
    pieces, at = Pieces(), 0
    for space, size, copies in sizes:
        for _ in range(copies):
            pieces.add(7, at + space, at + space + size)
        at += space + size
    start = data.draw(st.integers(0, at - 1))
    end = data.draw(st.integers(start + 1, at))
    holds = [i for i in range(len(pieces.ids)) if pieces.starts[i] < end and pieces.ends[i] > start]
    answer = Answer("x" * (end - start), start)
    assert _pieces_of_answer(pieces, answer) == ((holds[0], holds[-1]) if holds else None)

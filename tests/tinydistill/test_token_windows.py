"""Windows of long sentences, against what each of them must be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydistill.pieces import Pieces
from tinydistill.token_windows import by_token, windows

Tokens = list[list[int]]


def numbered(sizes: list[int]) -> Tokens:
    """Tokens of these numbers of pieces, no two of which are the same."""
    ids = iter(range(sum(sizes)))
    return [[next(ids) for _ in range(size)] for size in sizes]


# Up to tokens that are longer than a window.
SENTENCES = st.lists(st.integers(1, 9) | st.just(1), min_size=1, max_size=40).map(numbered)
ROOMS = st.integers(1, 24)


@given(SENTENCES, ROOMS)
@settings(max_examples=80)
def test_each_token_counts_once_where_its_first_piece_is(tokens: Tokens, room: int) -> None:
    counted: list[int] = []
    for ids, places, (first, end) in windows(tokens, room):
        assert 1 <= len(ids) <= room
        assert [ids[place] for place in places] == [pieces[0] for pieces in tokens[first:end]]
        counted += range(first, end)
    assert counted == list(range(len(tokens)))


@given(SENTENCES, ROOMS)
@settings(max_examples=80)
def test_a_window_is_a_run_of_whole_tokens(tokens: Tokens, room: int) -> None:
    """But for a token longer than half of one, which loses its end."""
    cut = [pieces[: max(room // 2, 1)] for pieces in tokens]
    for ids, _, (first, end) in windows(tokens, room):
        runs = [
            (left, right)
            for left in range(first + 1)
            for right in range(end, len(tokens) + 1)
            if ids == [id for pieces in cut[left:right] for id in pieces]
        ]
        assert len(runs) == 1


@given(SENTENCES, ROOMS)
@settings(max_examples=80)
def test_as_much_context_as_there_is_room_for(tokens: Tokens, room: int) -> None:
    cut = [pieces[: max(room // 2, 1)] for pieces in tokens]
    total, margin = sum(map(len, cut)), room // 4
    found = list(windows(tokens, room))
    if total <= room:
        assert found == [([id for pieces in cut for id in pieces], found[0][1], (0, len(tokens)))]
    for ids, places, (first, end) in found:
        # Before the first token that counts: a quarter, as far as whole tokens fill it.
        before, left = places[0], first
        while left and sum(map(len, cut[left:first])) < before:
            left -= 1
        assert before <= margin
        assert left == 0 or before + len(cut[left - 1]) > margin
        # The window is full, or the next token does not fit.
        right = left + next(i for i in range(len(cut)) if sum(map(len, cut[left : left + i + 1])) == len(ids)) + 1
        assert right == len(tokens) or len(ids) + len(cut[right]) > room
        # Behind the last one: a quarter is free or filled, unless the sentence ends, or no other token would count.
        behind = sum(map(len, cut[left:end]))
        assert end in (len(tokens), first + 1) or room - behind >= margin
        # One more would have had less, or the sentence ends here.
        if end < len(tokens):
            assert room - behind - len(cut[end]) < margin or right == end


@pytest.mark.parametrize("room", [1, 2, 3, 4, 5])
def test_the_smallest_windows(room: int) -> None:
    found = list(windows(numbered([1] * 9), room))
    assert [id for ids, places, _ in found for id in (ids[place] for place in places)] == list(range(9))
    assert all(len(ids) == room for ids, _, _ in found[:-1])
    assert len(found) == {1: 9, 2: 5, 3: 3, 4: 4, 5: 3}[room]


def test_a_sentence_of_many_tokens() -> None:
    """Not by the square of their number."""
    tokens = numbered([1, 2, 3] * 30_000)
    found = list(windows(tokens, 126))
    assert sum(end - first for _, _, (first, end) in found) == len(tokens)
    assert len(found) < 3 * 180_000 / 126


def test_no_tokens_have_no_window() -> None:
    assert list(windows([], 8)) == []


TEXTS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=8)


@given(TEXTS, st.integers(0, 1), st.data())
def test_pieces_belong_to_the_token_they_begin_in(tokens: list[str], gap: int, data: st.DataObject) -> None:
    """Also one that begins in the space before a token: it belongs to the token before that."""
    owners = [number for number, token in enumerate(tokens) for _ in range(len(token) + gap)]
    length = len(owners) - gap
    chosen = data.draw(st.lists(st.integers(0, length - 1), max_size=12).map(sorted))
    pieces = Pieces()
    for id, start in enumerate(chosen):
        pieces.add(id, start, start + 1)
    expected: Tokens = [[] for _ in tokens]
    for id, start in enumerate(chosen):
        expected[owners[start]].append(id)
    assert by_token(tokens, pieces, gap, unknown=99) == [ids or [99] for ids in expected]

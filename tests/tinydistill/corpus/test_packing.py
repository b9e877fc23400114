"""Rows of whole lines, against plain loops over lists; and documents that are held out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.errors import UserError
from tests.tinydistill.corpus.corpora import corpus_with
from tinydistill.corpus import held_out
from tinydistill.corpus.held_out import Part, hashes_of, hold_out
from tinydistill.corpus.packing import pack
from tinydistill.corpus.store import Corpus

LENGTHS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), min_size=1, max_size=12)


def plain_rows(lines: list[list[int]], room: int) -> list[list[int]]:
    """Lines as lists of pieces."""
    rows: list[list[int]] = []
    row: list[int] = []
    for line in lines:
        if len(row) + len(line) <= room:
            row = row + line
            continue
        rows.append(row)
        while len(line) > room:
            rows.append(line[:room])
            line = line[room:]
        row = line
    return [each for each in [*rows, row] if each]


def lines_of(corpus: Corpus, part: Part) -> list[list[list[int]]]:
    """Of each document of the part, of each line, the pieces."""
    bounds = corpus.lines.tolist()
    return [[list(range(bounds[at], bounds[at + 1])) for at in range(*segment)] for segment in part.segments()]


def rows_of(corpus: Corpus, part: Part, room: int, mix: bool) -> list[list[int]]:
    return [
        corpus.pieces[start : start + length].tolist()
        for start, length in pack(part.segments(), corpus.lines, room, mix)
    ]


@given(LENGTHS, st.integers(2, 25))
def test_rows_are_those_of_plain_loops(lengths: list[list[int]], room: int) -> None:
    corpus = corpus_with(lengths)
    part = Part(corpus, seed=0)
    documents = lines_of(corpus, part)
    expected = [row for document in documents for row in plain_rows(document, room)]
    assert rows_of(corpus, part, room, mix=False) == expected
    mixed = rows_of(corpus, part, room, mix=True)
    assert mixed == plain_rows([line for document in documents for line in document], room)
    for rows in (expected, mixed):
        assert list(itertools.chain.from_iterable(rows)) == corpus.pieces.tolist()
        assert all(1 <= len(row) <= room for row in rows)


@given(LENGTHS, st.integers(2, 25), st.integers(0, 3))
def test_rows_of_a_part_mix_no_documents_over_a_gap(lengths: list[list[int]], room: int, seed: int) -> None:
    corpus = corpus_with(lengths)
    part = Part(corpus, seed, lowest=1 << 62)
    runs: list[list[list[int]]] = []
    last = None
    for document in lines_of(corpus, part):
        if last is None or document[0][0] != last + 1:
            runs.append([])
        runs[-1] += document
        last = document[-1][-1]
    assert rows_of(corpus, part, room, mix=True) == [row for run in runs for row in plain_rows(run, room)]


def plain_hash(document: int, seed: int) -> int:
    """SplitMix64, twice, in Python's integers."""
    state = seed
    for of in (0, document):
        state = (state + (of + 1) * 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


@given(st.integers(0, 2**40), st.integers(0, 2**64 - 1))
def test_hashes_are_those_of_plain_integers(document: int, seed: int) -> None:
    assert hashes_of(np.array([document, 0]), seed).tolist() == [plain_hash(document, seed), plain_hash(0, seed)]


def numbers_of(part: Part | None) -> list[int]:
    assert part
    return np.concatenate(list(part.documents())).tolist()


@pytest.mark.parametrize("at_once", [7, 1 << 16])
def test_a_share_of_the_documents_is_held_out(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "_AT_ONCE", at_once)
    corpus = corpus_with([[5]] * 2000)
    train, validation = hold_out(corpus, 0.1, seed=3, room=10)
    held = numbers_of(validation)
    assert held == [document for document in range(2000) if plain_hash(document, 3) < int(0.1 * 2**64)]
    assert 140 < len(held) < 260
    assert sorted(held + numbers_of(train)) == list(range(2000))
    assert numbers_of(hold_out(corpus, 0.1, seed=4, room=10)[1]) != held
    # Documents that come behind change nothing.
    assert numbers_of(hold_out(corpus_with([[5]] * 1000), 0.1, seed=3, room=10)[1]) == [at for at in held if at < 1000]


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=8), min_size=40, max_size=50), st.integers(1, 12))
def test_a_number_of_rows_is_held_out(lengths: list[list[int]], rows: int) -> None:
    """By the lowest hashes, no more documents than are needed."""
    corpus = corpus_with(lengths)
    held = numbers_of(hold_out(corpus, rows, seed=1, room=12)[1])
    by_hash = sorted(range(len(lengths)), key=lambda document: plain_hash(document, 1))
    counts = [len(plain_rows([[0] * length for length in lengths[at]], 12)) for at in by_hash]
    needed = next(at for at in range(1, len(counts) + 1) if sum(counts[:at]) >= rows)
    assert held == sorted(by_hash[:needed])


def test_one_document_is_held_out_at_least_and_two_for_pairs() -> None:
    corpus = corpus_with([[5]] * 20)
    lowest = sorted(range(20), key=lambda document: plain_hash(document, 0))
    assert numbers_of(hold_out(corpus, 1e-9, seed=0, room=10)[1]) == lowest[:1]
    assert numbers_of(hold_out(corpus, 1e-9, seed=0, room=10, pairs=True)[1]) == sorted(lowest[:2])
    train, none = hold_out(corpus, 0, seed=0, room=10)
    assert none is None
    assert numbers_of(train) == list(range(20))


def test_a_corpus_of_few_documents_is_parted_between_lines(caplog: pytest.LogCaptureFixture) -> None:
    corpus = corpus_with([[3] * 20])
    train, validation = hold_out(corpus, 0.1, seed=0, room=10)
    assert validation
    assert list(train.segments()) == [(0, 18)]
    assert list(validation.segments()) == [(18, 20)]
    assert "1 document: its last 2 of 20 lines are held out" in caplog.text
    train, validation = hold_out(corpus, 2, seed=0, room=10)  # rows, of 10 pieces
    assert validation
    assert list(validation.segments()) == [(13, 20)]
    large = corpus_with([[3] * 5, [3] * 40, [3] * 5])
    seed = next(seed for seed in range(99) if min(range(3), key=lambda at: plain_hash(at, seed)) == 1)
    train, validation = hold_out(large, 0.1, seed, room=10)  # the hash would take the large one
    assert validation
    assert list(train.segments()) == [(0, 5), (5, 45)]
    assert list(validation.segments()) == [(45, 50)]


@pytest.mark.parametrize(
    ("lengths", "share", "pairs", "sentence"),
    [
        ([[5]], 0.1, False, "5 pieces in 1 line, too few to hold out 0.1 of it"),
        ([[1, 9]], 0.1, False, "10 pieces in 2 lines, too few"),
        ([[3]] * 9, 20, False, "too few to hold out 20 rows of 10 pieces; hold out less"),
        ([[3]] * 9, 0.9, False, "too few to hold out 0.9 of it"),
        ([[3]] * 9, -1, False, "-1 cannot be held out"),
        ([[3]] * 9, 1.5, False, "1.5 cannot be held out"),
        ([[3]] * 3, 0.1, True, "3 documents, and pairs need 4: .* put blank lines between documents"),
        ([[3, 3]], 0, True, "1 document, and pairs need 2"),
        ([[3]] * 9, 20, True, "leaves fewer than two of the corpus's 9 documents"),
    ],
)
def test_what_cannot_be_held_out(lengths: list[list[int]], share: float, pairs: bool, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        hold_out(corpus_with(lengths), share, seed=0, room=10, pairs=pairs)

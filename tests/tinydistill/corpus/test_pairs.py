"""Pairs of texts, against plain loops over lists of pieces, as the original code's description has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tinydistill.corpus.corpora import corpus_with
from tinydistill.corpus.held_out import Part
from tinydistill.corpus.pairs import OtherDocuments, Pair, Random, pairs_of_part, truncated
from tinydistill.corpus.store import Corpus

LENGTHS = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=8), min_size=2, max_size=8)
Texts = tuple[list[int], list[int], bool]


def plain_pairs(documents: list[list[list[int]]], own: int, room: int, random: Random, short: float) -> list[Texts]:
    """Of one document; each is a list of lines, which are lists of pieces."""
    document = documents[own]
    target = room
    if random.random() < short:
        target = 2 + int(random.random() * (room - 1))
    found: list[Texts] = []
    chunk: list[list[int]] = []
    at = 0
    while at < len(document):
        chunk.append(document[at])
        if at == len(document) - 1 or sum(map(len, chunk)) >= target:
            a_end = 1
            if len(chunk) >= 2:
                a_end = 1 + int(random.random() * (len(chunk) - 1))
            a = [piece for line in chunk[:a_end] for piece in line]
            if len(chunk) == 1 or random.random() < 0.5:
                is_random = True
                # A line of any other document; of that document, any line.
                of_lines = [at for at, other in enumerate(documents) for _ in other if at != own]
                other = documents[of_lines[int(random.random() * len(of_lines))]]
                b: list[int] = []
                for line in other[int(random.random() * len(other)) :]:
                    b += line
                    if len(b) >= target - len(a):
                        break
                at -= len(chunk) - a_end
            else:
                is_random = False
                b = [piece for line in chunk[a_end:] for piece in line]
            a, b = plain_truncated(a, b, room, random)
            found.append((a, b, is_random))
            chunk = []
        at += 1
    return found


def plain_truncated(a: list[int], b: list[int], room: int, random: Random) -> tuple[list[int], list[int]]:
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        longer = a if len(a) > len(b) else b
        del longer[0 if random.random() < 0.5 else -1]
    return a, b


def texts_of(pair: Pair) -> Texts:
    """Of a corpus in which each piece is its place."""
    first = list(range(pair.first, pair.first + pair.first_length))
    second = list(range(pair.second, pair.second + pair.second_length))
    return first, second, pair.is_random


def documents_of(corpus: Corpus) -> list[list[list[int]]]:
    bounds = corpus.lines.tolist()
    return [[list(range(*bounds[at : at + 2])) for at in range(*segment)] for segment in Part(corpus, 0).segments()]


@given(LENGTHS, st.integers(2, 30), st.integers(0, 9), st.integers(0, 2), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_pairs_are_those_of_plain_loops(
    lengths: list[list[int]], room: int, seed: int, epoch: int, short: float
) -> None:
    corpus = corpus_with(lengths)
    documents = documents_of(corpus)
    expected = []
    for own in range(len(documents)):
        random = np.random.default_rng((seed, epoch, own, 2))
        expected += plain_pairs(documents, own, room, random, short)
    found = [texts_of(pair) for pair in pairs_of_part(Part(corpus, 0), room, seed, epoch, short)]
    assert found == expected
    assert all(a and b and len(a) + len(b) <= room for a, b, _ in found)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 30), st.integers(0, 99))
def test_what_is_longer_loses_its_ends(first: int, second: int, room: int, seed: int) -> None:
    a, b = truncated((100, 100 + first), (500, 500 + second), room, np.random.default_rng(seed))
    lists = list(range(100, 100 + first)), list(range(500, 500 + second))
    expected = plain_truncated(*lists, room, np.random.default_rng(seed))
    assert (list(range(*a)), list(range(*b))) == expected


def test_a_document_is_drawn_by_its_lines_and_never_the_own() -> None:
    corpus = corpus_with([[1] * lines for lines in (1, 6, 2, 1)])
    others, random = OtherDocuments(Part(corpus, 0)), np.random.default_rng(0)
    drawn = [others.draw(1, random) for _ in range(4000)]
    shares = {segment: drawn.count(segment) / len(drawn) for segment in set(drawn)}
    assert shares == {
        (0, 1): pytest.approx(0.25, abs=0.04),
        (7, 9): pytest.approx(0.5, abs=0.04),
        (9, 10): pytest.approx(0.25, abs=0.04),
    }


def test_what_is_drawn_is_spread_as_it_should_be() -> None:
    corpus = corpus_with([[4] * 50 for _ in range(200)])
    pairs = list(pairs_of_part(Part(corpus, 0), 40, seed=0, epoch=0, short_share=0.0))
    assert 0.45 < np.mean([pair.is_random for pair in pairs]) < 0.65  # more than half: single lines at the ends
    # The first text is 1 to 9 of 10 lines, each as likely.
    whole = [pair.first_length // 4 for pair in pairs if not pair.is_random and pair.first_length % 4 == 0]
    counts = np.bincount(whole, minlength=10)[1:10]
    assert counts.min() > 0.4 * counts.mean()
    # About a tenth of the documents has shorter pairs.
    short = list(pairs_of_part(Part(corpus, 0), 40, seed=0, epoch=0))
    of_document = {pair.first // 200: 0 for pair in short}
    for pair in short:
        at = pair.first // 200
        of_document[at] = max(of_document[at], pair.first_length + pair.second_length)
    assert 0.02 < np.mean([longest < 40 for longest in of_document.values()]) < 0.25


def test_each_epoch_and_seed_draws_anew_and_each_document_by_itself() -> None:
    corpus = corpus_with([[3] * 12 for _ in range(30)])

    def drawn(seed: int, epoch: int, of: Corpus = corpus) -> list[Pair]:
        return list(pairs_of_part(Part(of, 0), 20, seed, epoch))

    assert drawn(0, 0) == drawn(0, 0)
    assert len({str(drawn(*each)) for each in ((0, 0), (0, 1), (1, 0), (1, 1))}) == 4
    # What a document's own lines become does not depend on those that come behind it, but for the random texts.
    shorter = corpus_with([[3] * 12 for _ in range(20)])
    firsts = [(pair.first, pair.first_length) for pair in drawn(0, 0, shorter)]
    assert firsts[:5] == [(pair.first, pair.first_length) for pair in drawn(0, 0)][:5]

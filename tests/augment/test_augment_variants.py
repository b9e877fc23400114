from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.variants import Slot, draw_variants

SENTENCE = 'he said "hi" to a  gripping film\u00a0. '
SLOTS = [Slot(19, 27, ("dull", "long")), Slot(28, 32, ("movie", "plot", "tale"))]


def draw(n=20, p=0.4, **kwargs):
    return draw_variants(SENTENCE, SLOTS, n, p, **{"seed": 42, **kwargs})


def test_only_the_slots_change():
    assert (SENTENCE[19:27], SENTENCE[28:32]) == ("gripping", "film")
    for variant in draw(n=50):
        assert variant.startswith('he said "hi" to a  ')
        assert variant.endswith("\u00a0. ")
    assert set(draw(n=1000, p=1)) == {
        SENTENCE[:19] + first + " " + second + SENTENCE[32:]
        for first in ("dull", "long")
        for second in ("movie", "plot", "tale")
    }


def test_neither_duplicates_nor_the_original():
    variants = draw(n=1000)
    assert len(variants) == len(set(variants)) == 3 * 4 - 1
    assert SENTENCE not in variants


def test_one_sequence_for_each_seed_row_and_column():
    many = [tuple(draw(n=5, seed=s, row=r, column=c)) for s in (1, 2, -1) for r in (0, 1, 12) for c in (0, 1)]
    assert len(set(many)) > 15  # 18, but for chance
    assert draw(seed=7, row=3, column=1) == draw(seed=7, row=3, column=1)
    assert draw(seed=1, row=11) != draw(seed=11, row=1)


def test_a_smaller_n_is_the_beginning_of_a_larger_one():
    assert draw(n=40)[: len(draw(n=5))] == draw(n=5)


def test_the_sequence_of_a_seed_is_kept_across_versions():
    # Written down from a run: a change here changes every train_aug.tsv that someone wants to reproduce.
    assert [variant[19:-3] for variant in draw(n=4)] == ["long tale", "gripping movie", "long film"]


def test_probability_and_uniform_choice():
    counts: Counter[str] = Counter()
    for row in range(4000):
        for variant in draw(n=1, p=0.4, row=row):
            counts.update(variant[19:-3].split())
    assert counts["dull"] + counts["long"] == pytest.approx(1600, rel=0.1)
    assert counts["movie"] + counts["plot"] + counts["tale"] == pytest.approx(1600, rel=0.1)
    for word, share in {"dull": 1 / 2, "long": 1 / 2, "movie": 1 / 3, "plot": 1 / 3, "tale": 1 / 3}.items():
        assert counts[word] == pytest.approx(1600 * share, rel=0.15)


def test_probability_none_and_one():
    assert draw(p=0) == []
    assert draw_variants("no slots", [], 5, 0.4, seed=1) == []
    assert all("gripping" not in variant and "film" not in variant for variant in draw(p=1))


@given(st.data())
def test_all_else_in_the_sentence_stays(data):
    sentence = data.draw(st.text(max_size=30))
    edges = sorted(data.draw(st.sets(st.integers(0, len(sentence)), max_size=6)))
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    slots = [Slot(start, end, ("<new>",)) for start, end in spans]
    expected = sentence
    for start, end in reversed(spans):
        expected = expected[:start] + "<new>" + expected[end:]
    assert draw_variants(sentence, slots, 3, 1.0, seed=0) == ([expected] if expected != sentence else [])

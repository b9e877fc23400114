"""Masks against loops with hand-made draws, the rules that hold for all rows, and where the draws come from."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models
from transformers import PreTrainedTokenizerFast

from glue_tasks.errors import UserError
from tests.tinydistill.conftest import PIECES, make_tokenizer
from tinydistill.corpus.masking import FIXED, NO_LABEL, Masking

CLS, SEP, MASK, UNK = 2, 3, 4, 1
SPECIAL = frozenset(range(5))
SIZE = 40


def masking(kind: str = "word", **changes: object) -> Masking:
    return Masking(kind, MASK, SPECIAL, SIZE, **changes)  # type: ignore[arg-type]


class Draws:
    """Hand-made draws, the first for the words."""

    def __init__(self, draws: list[float]):
        self.draws = draws

    def random(self, size: int, /) -> np.ndarray:
        taken, self.draws = self.draws[:size], self.draws[size:]
        assert len(taken) == size
        return np.array(taken)


def by_loops(ids: list[int], begins: list[bool], random: Draws, how: Masking) -> tuple[list[int], list[int]]:
    """What the module says, a step at a time."""
    room = round(how.rate * len(ids))
    room = room if room > 0 else 1
    if how.most is not None and room > how.most:
        room = how.most
    if how.masking == "piece":
        words = [[i] for i, piece in enumerate(ids) if piece not in how.special_ids]
        draws = list(random.random(len(words)))
    else:
        words = []
        all_words = [[]]  # what stands before the first beginning is one too
        for i, begins_one in enumerate(begins):
            if begins_one:
                all_words.append([])
            if ids[i] not in how.special_ids:
                all_words[-1].append(i)
        while all_words and not any(ids[i] not in how.special_ids for i in all_words[-1]):
            all_words.pop()  # no draw is made for what stands behind the last word
        drawn = random.random(len(all_words)) if all_words else []
        words = [word for word in all_words if word]
        draws = [each for word, each in zip(all_words, drawn, strict=True) if word]
    in_order = [word for _, word in sorted(zip(draws, words, strict=True), key=lambda pair: pair[0])]
    chosen: list[int] = []
    for word in in_order:
        if len(chosen) + len(word) <= room:
            chosen += word
    if not chosen and in_order:
        chosen = min(in_order, key=len)
    masked, labels = list(ids), [NO_LABEL] * len(ids)
    kinds, which = random.random(len(chosen) * 2).reshape(2, -1)
    others = [piece for piece in range(how.vocabulary) if piece not in how.special_ids]
    for i, kind, place in zip(sorted(chosen), kinds, which, strict=True):
        labels[i] = ids[i]
        if kind < how.shares[0]:
            masked[i] = MASK
        elif kind < how.shares[0] + how.shares[1]:
            masked[i] = others[int(place * len(others))]
    return masked, labels


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], list[bool]]:
    """Pieces with words of several, special ones at their ends and anywhere, and ones that begin inside a word."""
    piece = st.one_of(st.integers(5, SIZE - 1), st.integers(5, SIZE - 1), st.sampled_from([UNK, SEP, MASK]))
    ids = draw(st.lists(piece, max_size=60))
    begins = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    return [CLS, *ids, SEP], [True, *begins, True]


HOW = st.builds(
    masking,
    st.sampled_from(["piece", "word"]),
    rate=st.sampled_from([0.01, 0.15, 0.5, 1.0]),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.2, 0.3, 0.5)]),
    most=st.sampled_from([None, 1, 5]),
    seed=st.integers(0, 2**40),
)


@given(rows(), HOW, st.integers(0, 1000), st.sampled_from([10, 1 << 40]))
def test_masks_are_those_of_the_loops(row: tuple[list[int], list[bool]], how: Masking, seed: int, steps: int) -> None:
    ids, begins = row
    draws = [
        each / steps for each in np.random.default_rng(seed).integers(steps, size=200).tolist()
    ]  # of 10: with ties
    masked, labels = how._masked(np.array(ids), None if how.masking == "piece" else begins, Draws(draws))
    expected = by_loops(ids, begins, Draws(draws), how)
    assert (masked.tolist(), labels.tolist()) == expected


def words_of(ids: list[int], begins: list[bool]) -> list[list[int]]:
    """The places of each word, without special pieces."""
    starts = [0, *(i for i, each in enumerate(begins) if each and i), len(ids)]
    words = [[i for i in range(a, b) if ids[i] not in SPECIAL] for a, b in itertools.pairwise(starts)]
    return [word for word in words if word]


@given(rows(), HOW, st.integers(0, 2**33), st.one_of(st.integers(0, 100), st.just(FIXED)))
def test_rules_of_every_row(row: tuple[list[int], list[bool]], how: Masking, number: int, epoch: int) -> None:
    ids, begins = row
    masked, labels = how.mask_row(ids, begins, number, epoch)
    chosen = {i for i, label in enumerate(labels) if label != NO_LABEL}
    assert all(ids[i] not in SPECIAL and labels[i] == ids[i] for i in chosen)
    assert all(masked[i] == ids[i] for i in range(len(ids)) if i not in chosen)
    assert all(masked[i] == MASK or masked[i] not in SPECIAL for i in chosen)
    room = min(max(1, round(how.rate * len(ids))), how.most or len(ids))
    if how.masking == "piece":
        assert len(chosen) == min(room, sum(piece not in SPECIAL for piece in ids))
        return
    words = words_of(ids, begins)
    assert all(len(chosen & set(word)) in (0, len(word)) for word in words)  # all or none
    shortest = min(map(len, words), default=0)
    assert len(chosen) == shortest if shortest > room else len(chosen) <= room
    if words and shortest <= room:
        # No word that was left out would have fitted.
        assert all(len(chosen) + len(word) > room for word in words if not chosen & set(word))


IDS = [CLS, *range(5, 35), SEP]
BEGINS = [True] + [i % 3 == 0 for i in range(30)] + [True]


def test_the_room_is_of_all_pieces_with_the_special_ones() -> None:
    _, labels = masking("piece").mask_row([CLS, *[7] * 510, SEP], None, 0, 0)
    assert (labels != NO_LABEL).sum() == 77  # 76.8; as in MiniRBT
    _, labels = masking("piece", most=20).mask_row([CLS, *[7] * 510, SEP], None, 0, 0)
    assert (labels != NO_LABEL).sum() == 20
    _, labels = masking("word").mask_row([CLS, *[7] * 510, SEP], [True] * 512, 0, 0)
    assert (labels != NO_LABEL).sum() == 77


@pytest.mark.parametrize("kind", ["piece", "word"])
@pytest.mark.parametrize("ids", [[], [CLS, SEP], [CLS, UNK, SEP], [CLS, MASK, MASK, SEP]])
def test_a_row_of_special_pieces_only(ids: list[int], kind: str) -> None:
    masked, labels = masking(kind, rate=1.0).mask_row(ids, [True] * len(ids), 0, 0)
    assert masked.tolist() == ids
    assert labels.tolist() == [NO_LABEL] * len(ids)


def test_the_shortest_word_is_taken_where_none_has_room() -> None:
    ids, begins = [CLS, *range(10, 21), SEP], [True, *[i in (0, 6) for i in range(11)], True]
    _, labels = masking().mask_row(ids, begins, 0, 0)  # room for 2; words of 6 and 5
    assert labels.tolist() == [NO_LABEL] * 7 + ids[7:12] + [NO_LABEL]


def test_a_word_that_goes_on_after_a_special_piece_is_one_by_itself() -> None:
    ids, begins = [CLS, 10, SEP, 11, 12, SEP], [True, True, True, False, False, True]
    found = {tuple(masking(seed=seed).mask_row(ids, begins, 0, 0)[1] != NO_LABEL) for seed in range(20)}
    assert found == {(False, True, False, False, False, False)}  # room for 1: the other has two
    found = {tuple(masking(seed=seed, rate=0.4).mask_row(ids, begins, 0, 0)[1] != NO_LABEL) for seed in range(20)}
    assert found == {(False, True, False, False, False, False), (False, False, False, True, True, False)}


@pytest.mark.parametrize("how", [masking("none"), masking("piece", rate=0.0), masking("word", rate=0.0)])
def test_nothing_is_masked_where_nothing_is_asked_for(how: Masking) -> None:
    masked, labels = how.mask_row(IDS, BEGINS, 3, 1)
    assert masked.tolist() == IDS
    assert set(labels.tolist()) == {NO_LABEL}
    assert dataclasses.replace(how, mask_id=None).is_at_work is False


@pytest.mark.parametrize("kind", ["piece", "word"])
def test_shares_and_evenness_over_many_draws(kind: str) -> None:
    how, size = masking(kind), 100
    ids, begins = [CLS, *[30] * size, SEP], [True, *[i % 2 == 0 for i in range(size)], True]
    kinds: Counter = Counter()
    drawn: Counter = Counter()
    places = np.zeros(size + 2)
    for number in range(2000):
        masked, labels = how.mask_row(ids, begins, number, 0)
        chosen = labels != NO_LABEL
        places += chosen
        for piece in masked[chosen].tolist():
            kinds["masked" if piece == MASK else "kept" if piece == 30 else "random"] += 1
            drawn[piece] += piece not in (MASK, 30)
    total = sum(kinds.values())
    assert total == 2000 * (15 if kind == "piece" else 14)
    assert kinds["masked"] / total == pytest.approx(0.8, abs=0.015)  # six standard deviations
    assert kinds["random"] / total == pytest.approx(0.1 * 34 / 35, abs=0.011)  # one of 35 draws is the piece itself
    assert {piece for piece, count in drawn.items() if count} == {*range(5, SIZE)} - {30}
    assert min(drawn[piece] for piece in range(5, SIZE) if piece != 30) > 35  # of 80 or 86
    assert places[1:-1] == pytest.approx(np.full(size, total / size), abs=110)  # of 300 or 280, with deviations of 16


@settings(max_examples=30)
@given(HOW, st.permutations(range(4)))
def test_masks_do_not_depend_on_the_batch(how: Masking, order: list[int]) -> None:
    own = [{"input_ids": IDS[: 10 + i], "begins_word": BEGINS[: 10 + i], "token_type_ids": [0]} for i in range(4)]
    whole = how.mask_rows(own, range(4), epoch=2)
    again = how.mask_rows([own[i] for i in order], order, epoch=2)
    for place, i in enumerate(order):
        (alone,) = how.mask_rows([own[i]], [i], epoch=2)
        for other in (alone, again[place]):
            assert other.keys() == {"input_ids", "token_type_ids", "labels"}
            assert other["input_ids"].tolist() == whole[i]["input_ids"].tolist()
            assert other["labels"].tolist() == whole[i]["labels"].tolist()
    assert own[0]["input_ids"] == IDS[:10]  # what was given is as it was


def test_each_epoch_row_and_seed_has_masks_of_its_own() -> None:
    found = {
        masking("piece", seed=seed).mask_row(IDS, None, number, epoch)[1].tobytes()
        for seed in range(5)
        for number in (0, 1, 2, 1 << 32, (1 << 32) + 1)
        for epoch in (0, 1, 2, FIXED)
    }
    assert len(found) == 100


def test_masks_stay_what_they_are() -> None:
    # Else a run that is resumed with another version would go on with other masks.
    ids, labels = masking(seed=42).mask_row(IDS, BEGINS, 7, 3)
    assert ids.tolist() == [CLS, *range(5, 14), MASK, 38, MASK, *range(17, 35), SEP]
    assert np.flatnonzero(labels != NO_LABEL).tolist() == [10, 11, 12]


def test_arrays_and_lists_are_masked_alike() -> None:
    of_lists = masking().mask_row(IDS, BEGINS, 0, 0)
    given_ids = np.array(IDS, dtype=np.uint16)
    of_arrays = masking().mask_row(given_ids, np.array(BEGINS), 0, 0)
    assert [each.tolist() for each in of_lists] == [each.tolist() for each in of_arrays]
    assert given_ids.tolist() == IDS
    assert {each.dtype for each in of_arrays} == {np.dtype(np.int64)}


def test_what_a_tokenizer_tells() -> None:
    how = Masking.of(make_tokenizer(), "word", seed=3, most=20)
    assert how == Masking("word", 4, SPECIAL, len(PIECES), seed=3, most=20)


def test_pieces_added_to_a_tokenizer_are_drawn_too() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["new"])
    tokenizer.add_special_tokens({"bos_token": AddedToken("[BOS]", special=True)})
    how = Masking.of(tokenizer, "piece", rate=1.0, shares=(0.0, 1.0, 0.0))
    drawn = {piece for number in range(200) for piece in how.mask_row([2, *[5] * 20, 3], None, number, 0)[0][1:-1]}
    assert drawn == set(range(5, len(PIECES) + 1))


def test_numbers_without_a_piece_are_not_drawn() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[MASK]": 1, "a": 2, "b": 9}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", mask_token="[MASK]")
    how = Masking.of(tokenizer, "piece", rate=1.0, shares=(0.0, 1.0, 0.0))
    drawn = {piece for number in range(30) for piece in how.mask_row([9, 2, 9], None, number, 0)[0].tolist()}
    assert drawn == {2, 9}


def test_a_tokenizer_without_a_mask() -> None:
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(UserError, match="the tokenizer has no mask"):
        Masking.of(tokenizer, "word")
    Masking.of(tokenizer, "none")
    how = Masking.of(tokenizer, "piece", shares=(0.0, 0.5, 0.5))  # needs none
    assert (how.mask_row([2, 5, 6, 3], None, 0, 0)[1] != NO_LABEL).sum() == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"masking": "words"}, "no masking 'words'"),
        ({"rate": 1.5}, "rate of 1.5 is none"),
        ({"rate": float("nan")}, "rate of nan is none"),
        ({"shares": (0.8, 0.1, 0.2)}, "0.8, 0.1, 0.2; they must add up to 1"),
        ({"shares": (1.2, -0.1, -0.1)}, "must add up to 1"),
        ({"most": 0}, "at most 0"),
    ],
)
def test_mistakes(changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        dataclasses.replace(masking(), **changes)


def test_whole_words_need_to_be_known() -> None:
    with pytest.raises(ValueError, match="begins_word"):
        masking("word").mask_rows([{"input_ids": IDS}], [0], epoch=0)

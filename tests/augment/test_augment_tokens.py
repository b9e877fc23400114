"""Variants of tokens: the tags stay in step, entities as they are unless they are swapped."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.kinds.swaps import EntitiesByType
from augment.kinds.tokens import Tokens, TokenSlot
from glue_tasks import UserError, get_task
from glue_tasks.entities import read_entities
from glue_tasks.rows import Row, Split, Tally
from tests.augment.made_rows import TAGS, TOKENS, MadeUp, settings_of

IDS = {tag: number for number, tag in enumerate(TAGS)}
CHINESE = replace(TOKENS, language="zh")


def row_of(sentence: str, separator: str | None = None, line: int = 1) -> Row:
    """ "Ada/B-PER sleeps": without a tag a token is O."""
    pairs = [(each + "/O").split("/")[:2] for each in sentence.split(separator)]
    return Row(line, (), tuple(token for token, _ in pairs), tuple(IDS[tag] for _, tag in pairs))


def chinese_row(sentence: str) -> Row:
    """ "王/B-PER 明/I-PER 喜欢": characters without a tag stand together."""
    parts = [each if "/" in each else " ".join(each) for each in sentence.split()]
    return row_of(" ".join(parts))


class Rows(Split):
    """Rows that are there, as a split has them."""

    def __init__(self, rows: Sequence[Row], is_labelled: bool = True):
        super().__init__(TOKENS, Path("train.jsonl"))
        vars(self).update(rows=rows, labelled=is_labelled)

    @property
    def is_labelled(self) -> bool:
        return vars(self)["labelled"]

    def _rows(self, tally: Tally) -> Iterator[Row]:
        for row in vars(self)["rows"]:
            tally.rows += 1
            yield row


def variants_of(row: Row, candidates: Sequence[str], kind: Tokens, number: int = 0) -> list[dict[str, Any]]:
    (slots,) = kind.slots([row], MadeUp(candidates, kind.settings.task.language))
    return [json.loads(variant.cells[0]) for variant in kind.variants(number, row, slots)]


def entities_of(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.type, tuple(tokens[each.first : each.last + 1])) for each in read_entities(tags)]


def test_words_outside_entities_vary_and_no_others() -> None:
    row = row_of("Ada/B-PER Lovelace/I-PER visited the old museum of London/B-LOC yesterday .")
    kind = Tokens(settings_of(TOKENS, variants=200))
    found = variants_of(row, ["house", "river"], kind)
    varied = {i for each in found for i, token in enumerate(each["tokens"]) if token != row.texts[i]}
    assert varied == {2, 4, 5, 8}  # visited, old, museum, yesterday
    assert all(each["tags"] == [TAGS[tag] for tag in row.label] for each in found)  # type: ignore[union-attr]
    assert len({tuple(each["tokens"]) for each in found}) == len(found)
    assert list(row.texts) not in [each["tokens"] for each in found]
    assert json.loads(kind.cells(row)[0]) == {
        "tokens": list(row.texts),
        "tags": ["B-PER", "I-PER", "O", "O", "O", "O", "O", "B-LOC", "O", "O"],
    }


def test_a_word_that_is_no_whole_token_stays() -> None:
    row = Row(1, (), ("an old-house", "(film", "old house", "", "river", ""), (0,) * 6)
    found = variants_of(row, ["tale"], Tokens(settings_of(TOKENS, probability=1.0)))
    assert [each["tokens"] for each in found] == [["an old-house", "(film", "old house", "", "tale", ""]]


def test_chinese_words_of_another_length_change_the_number_of_tokens() -> None:
    row = chinese_row("王/B-PER 明/I-PER 喜欢 北/B-LOC 京/I-LOC 酒店")
    found = variants_of(row, ["爱", "图书馆"], Tokens(settings_of(CHINESE, variants=100)))
    assert {"".join(each["tokens"]) for each in found} == {
        f"王明{first}北京{last}" for first in ("喜欢", "爱", "图书馆") for last in ("酒店", "爱", "图书馆")
    } - {"王明喜欢北京酒店"}
    for each in found:
        assert all(len(token) == 1 for token in each["tokens"])
        assert entities_of(**each) == [("PER", ("王", "明")), ("LOC", ("北", "京"))]
        assert len(each["tags"]) == len(each["tokens"])


def test_a_chinese_word_that_touches_an_entity_stays() -> None:
    # jieba's word is 酒店, of which one character is an entity's.
    row = chinese_row("酒 店/B-LOC 干净")
    found = variants_of(row, ["爱"], Tokens(settings_of(CHINESE, probability=1.0)))
    assert ["".join(each["tokens"]) for each in found] == ["酒店爱"]


def test_tokens_that_are_chinese_words_are_replaced_as_words() -> None:
    row = Row(1, (), ("王明", "喜欢", "酒店"), (IDS["B-PER"], 0, 0))
    found = variants_of(row, ["图书馆"], Tokens(settings_of(CHINESE, probability=1.0)))
    assert found == [{"tokens": ["王明", "图书馆", "图书馆"], "tags": ["B-PER", "O", "O"]}]


def test_without_tags_every_word_may_vary_and_none_are_written() -> None:
    row = replace(row_of("London is old"), label=None)
    kind = Tokens(settings_of(TOKENS, probability=1.0))
    assert variants_of(row, ["house"], kind) == [{"tokens": ["house", "is", "house"]}]
    assert json.loads(kind.cells(row)[0]) == {"tokens": ["London", "is", "old"]}
    with pytest.raises(UserError, match=r"train.jsonl has no tags .* leave out --swap-entities"):
        Tokens.of(Rows([row], is_labelled=False), settings_of(TOKENS, swap_entities=True))


ROWS = [
    row_of("Ada/B-PER Lovelace/I-PER left London/B-LOC"),
    row_of("Bob/B-PER saw Ada/B-PER Lovelace/I-PER in New/B-LOC York/I-LOC City/I-LOC"),
    row_of("Acme/B-ORG hired Carl/B-PER Friedrich/I-PER Gauss/I-PER"),
]
NAMES = {
    "PER": {("Ada", "Lovelace"), ("Bob",), ("Carl", "Friedrich", "Gauss")},
    "LOC": {("London",), ("New", "York", "City")},
    "ORG": {("Acme",)},
}


def test_entities_are_swapped_for_others_of_their_type() -> None:
    kind = Tokens.of(Rows(ROWS), settings_of(TOKENS, swap_entities=True, probability=1.0, variants=60))
    for number, row in enumerate(ROWS):
        original = entities_of(row.texts, [TAGS[tag] for tag in row.label])  # type: ignore[union-attr]
        seen: list[set[tuple[str, ...]]] = [set() for _ in original]
        for each in variants_of(row, ["found"], kind, number):
            found = entities_of(**each)
            assert [of_type for of_type, _ in found] == [of_type for of_type, _ in original]
            for place, (_, tokens) in enumerate(found):
                seen[place].add(tokens)
        # Each of its type but the one that stood there; of one alone, that one.
        assert seen == [NAMES[of_type] - {tokens} or {tokens} for of_type, tokens in original]


def test_entities_are_swapped_with_the_probability_of_words() -> None:
    kind = Tokens.of(Rows(ROWS), settings_of(TOKENS, swap_entities=True, probability=0.25, variants=1))
    row = ROWS[0]
    (slots,) = kind.slots([row], MadeUp([]))
    (of_person,) = (slot for slot in slots[0] if slot.type == "PER")
    swapped = sum(len(kind.variants(number, row, [[of_person]])) for number in range(4000))
    assert swapped == pytest.approx(1000, rel=0.1)


tags = st.lists(st.sampled_from(["O", "O", *TAGS]), min_size=1, max_size=12)


@given(tags, st.integers(0, 2**32), st.sampled_from([TOKENS, CHINESE]))
def test_equal_to_a_plain_way_of_replacing(written: list[str], seed: int, task: Any) -> None:
    """Replaced from right to left in plain lists, with draws of its own."""
    chance = random.Random(seed)
    row = Row(1, (), tuple(f"t{i}" for i in range(len(written))), tuple(IDS[tag] for tag in written))
    entities = read_entities(written)
    inside = {i for each in entities for i in range(each.first, each.last + 1)}
    slots = []
    for each in entities:
        if chance.random() < 0.7:
            new = [tuple(f"e{j}" for j in range(chance.randint(1, 4))) for _ in range(chance.randint(1, 3))]
            slots.append(TokenSlot(each.first, each.last, new, each.type))
    at = 0
    while at < len(written):
        last = min(at + chance.randint(0, 2), len(written) - 1)
        if chance.random() < 0.7 and not inside & set(range(at, last + 1)):
            new = [tuple(f"w{j}" for j in range(chance.randint(1, 4))) for _ in range(chance.randint(1, 3))]
            slots.append(TokenSlot(at, last, new))
        at = last + 1
    slots.sort(key=lambda slot: slot.first)

    expected: list[tuple[list[str], list[str]]] = []
    draw = random.Random(f"{seed} 7 0").random
    for _ in range(8):
        chosen = []
        for slot in slots:
            is_replaced = draw() < 0.4
            chosen.append(slot.candidates[int(draw() * len(slot.candidates))] if is_replaced else None)
        tokens, new_tags = list(row.texts), list(written)
        for slot, new in reversed(list(zip(slots, chosen, strict=True))):
            if new is not None:
                tokens[slot.first : slot.last + 1] = new
                inner = [f"I-{slot.type}" if slot.type else "O"] * (len(new) - 1)
                new_tags[slot.first : slot.last + 1] = [f"B-{slot.type}" if slot.type else "O", *inner]
        if tokens != list(row.texts) and tokens not in [each for each, _ in expected]:
            expected.append((tokens, new_tags))

    kind = Tokens(settings_of(task, variants=8, seed=seed))
    found = [json.loads(variant.cells[0]) for variant in kind.variants(7, row, [slots])]
    assert [(each["tokens"], each["tags"]) for each in found] == expected
    for _, new_tags in expected:
        assert [each.type for each in read_entities(new_tags)] == [each.type for each in entities]


@given(st.lists(st.text("abc", max_size=3), max_size=60), st.integers(1, 5), st.randoms())
def test_a_bounded_sample_of_entities_hangs_on_no_order(names: list[str], most: int, chance: random.Random) -> None:
    def kept(of_names: list[str]) -> list[tuple[str, ...]]:
        entities = EntitiesByType(most)
        for name in of_names:
            entities.add("PER", (name,))
        others = entities.others("PER", ("none of them",))
        assert len(others) == min(most, len(set(of_names)))
        return list(others)

    found = kept(names)
    assert {each for (each,) in found} <= set(names)
    assert found == sorted(found)
    chance.shuffle(names)
    assert kept(names + names[:7]) == found


@given(st.sets(st.text("abc", max_size=3), min_size=1, max_size=12))
def test_the_others_are_all_but_one(names: set[str]) -> None:
    entities = EntitiesByType()
    for name in names:
        entities.add("PER", (name,))
    for own in [*names, "none of them"]:
        others = entities.others("PER", (own,))
        assert {name for (name,) in others} == names - {own}
        assert len(others) == len(names - {own}) == len(list(others))
        assert others[:] == list(others)
    assert not entities.others("LOC", ("x",))


def test_no_other_kind_has_entities_to_swap() -> None:
    with pytest.raises(UserError, match="--swap-entities is for tasks of tagged tokens, and SST-2 is none"):
        settings_of(get_task("SST-2"), swap_entities=True)


def test_what_is_shown_is_marked() -> None:
    kind = Tokens.of(Rows(ROWS), settings_of(TOKENS, swap_entities=True, probability=1.0, variants=1))
    (slots,) = kind.slots([ROWS[1]], MadeUp(["met"]))
    (variant,) = kind.variants(1, ROWS[1], slots, marked=True)
    plain = variants_of(ROWS[1], ["met"], kind, 1)[0]
    assert variant.text.replace("[", "").replace("]", "") == " ".join(plain["tokens"])
    assert variant.text.count("[") == variant.text.count("]") == 4

"""Variants of questions and contexts: the answers move along and stay in place."""

import json
import random
from collections.abc import Sequence
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from augment.kinds.spans import Spans, moved, numbered, outside, stretches
from augment.variants import Slot
from glue_tasks.rows import Answer, Question
from tests.augment.made_rows import SPANS, MadeUp, settings_of

CONTEXT = "The old museum of London opened in 1802 . The museum was built by the young architect of London ."


def question_of(text: str, context: str, answers: Sequence[tuple[str, int]] | None, name: str = "q1") -> Question:
    found = None if answers is None else tuple(Answer(*each) for each in answers)
    return Question(1, (), (text, context), None, name, found)


def variants_of(row: Question, candidates: Sequence[str], **settings: Any) -> list[dict[str, Any]]:
    kind = Spans(settings_of(SPANS, **settings))
    (slots,) = kind.slots([row], MadeUp(candidates))
    return [json.loads(variant.cells[0]) for variant in kind.variants(3, row, slots)]


def check_in_place(row: dict[str, Any]) -> None:
    for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
        assert row["context"][start : start + len(text)] == text


def test_either_side_varies_and_the_answers_stay() -> None:
    at = CONTEXT.index("young architect")
    answers = [("young architect", at), ("the young architect of London", at - 4)]
    row = question_of("Who built the museum of London ?", CONTEXT, answers)
    found = variants_of(row, ["a longer stretch", "x"], variants=30)
    questions = [each for each in found if each["context"] == CONTEXT]
    contexts = [each for each in found if each["question"] == row.texts[0]]
    assert len(questions) + len(contexts) == len(found)
    assert found[: len(questions)] == questions  # those of the question first
    assert len(questions) > 10 < len(contexts)
    for each in found:
        check_in_place(each)
        assert each["answers"]["text"] == [text for text, _ in answers]
        assert each["context"].endswith("the young architect of London .")
    assert all(each["answers"]["answer_start"] == [at, at - 4] for each in questions)
    assert any(each["answers"]["answer_start"][0] != at for each in contexts)
    assert [each["id"] for each in found] == [f"q1#{i + 1}" for i in range(len(found))]
    assert len({(each["question"], each["context"]) for each in found}) == len(found)


def test_the_row_itself_as_the_hub_has_it() -> None:
    row = question_of("Who ?", "Ada did .", [("Ada", 0), ("Ada did", 0)])
    assert json.loads(Spans(settings_of(SPANS)).cells(row)[0]) == {
        "id": "q1",
        "context": "Ada did .",
        "question": "Who ?",
        "answers": {"text": ["Ada", "Ada did"], "answer_start": [0, 0]},
    }


def test_a_question_without_an_answer_and_one_of_a_test_split() -> None:
    without = variants_of(question_of("What museum ?", CONTEXT, []), ["x"])
    unknown = variants_of(question_of("What museum ?", CONTEXT, None), ["x"])
    assert len(without) == len(unknown) > 10
    assert all(each["answers"] == {"text": [], "answer_start": []} for each in without)
    assert all("answers" not in each for each in unknown)
    assert [{**each, "answers": None} for each in unknown] == [{**each, "answers": None} for each in without]


def test_an_answer_that_is_nowhere_in_its_context_stays_so_and_keeps_no_word() -> None:
    at = CONTEXT.index("1802")
    found = variants_of(
        question_of("When ?", CONTEXT, [("1802", at), ("the nineteenth century", -1)]), ["x"], variants=9
    )
    assert all(each["answers"]["answer_start"][1] == -1 for each in found)
    assert {each["context"].split()[1] for each in found} == {"old", "x"}
    assert all(each["context"].startswith("1802", each["answers"]["answer_start"][0]) for each in found)


def test_a_shared_context_is_asked_about_once() -> None:
    rows = [question_of(f"museum {i} ?", CONTEXT, [("1802", CONTEXT.index("1802"))], f"q{i}") for i in range(5)]
    augmenter = MadeUp(["x"])
    slots = Spans(settings_of(SPANS)).slots(rows, augmenter)
    assert augmenter.asked == ["museum 0 ?", CONTEXT, *(f"museum {i} ?" for i in range(1, 5))]
    assert all(each[1] == slots[0][1] for each in slots)


@given(st.text('ab .!?"。！”\n<>`', max_size=300), st.integers(1, 40), st.booleans())
def test_stretches_are_the_whole_text_and_as_long_as_they_should_be(text: str, shortest: int, has_spaces: bool) -> None:
    with mock.patch("augment.kinds.spans._SHORTEST", shortest):
        parts = list(stretches(text, has_spaces))
    assert "".join(text[start:end] for start, end in parts) == text
    assert all(len(text[start:end].encode()) >= shortest for start, end in parts[:-1])


def test_stretches_end_with_a_sentence_and_not_inside_of_code() -> None:
    one, two, short = "The museum of Mr. Soane is in London. " * 5, "It is old! " * 20, "Yes. "

    def cut(text: str, has_spaces: bool = True) -> list[str]:
        return [text[start:end] for start, end in stretches(text, has_spaces)]

    assert all(part.endswith((". ", "! ")) for part in cut(one + two)[:-1])
    assert len(cut(one + two)) == 3
    assert cut(short + "No. ") == [short + "No. "]
    assert cut(f"<code>{one}</code>") == [f"<code>{one}</code>"]
    chinese = "他喜欢这家酒店。" * 7 + "房间很大！"
    assert cut(chinese, has_spaces=False) == [chinese[:56], chinese[56:]]
    assert cut("") == [""]


def test_slots_of_a_long_context_are_where_its_words_are() -> None:
    context = "The old museum of London opened in 1802. The young architect saw the river. " * 9
    row = question_of("What museum ?", context, [])
    augmenter = MadeUp(["x"])
    ((_, found),) = Spans(settings_of(SPANS)).slots([row], augmenter)
    replaced = {*["old", "museum", "London", "opened", "young", "architect", "saw", "river"]}
    assert [context[slot.start : slot.end] for slot in found] == [
        word for word in context.replace(".", "").split() if word in replaced
    ]
    assert 1 < len(augmenter.asked) < 5  # the stretches repeat, and are asked about once


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_answers_against_a_replacement_character_by_character(seed: int, length: int) -> None:
    """Each character of a context carries its number; an answer is found again by those of its own."""
    chance = random.Random(seed)
    context = "".join(chance.choice("ab ") for _ in range(length))
    spans = [sorted((chance.randint(0, length), chance.randint(0, length))) for _ in range(chance.randint(0, 3))]
    answers = [Answer(context[start:end], start) for start, end in spans if start < end]
    edges = sorted(chance.sample(range(length + 1), min(2 * chance.randint(0, 6), length + 1) // 2 * 2))
    slots = [
        Slot(start, end, tuple("z" * chance.randint(1, 5) for _ in range(3)))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    covered = {i for answer in answers for i in range(answer.start, answer.start + len(answer.text))}
    free = outside(slots, answers)
    assert free == [slot for slot in slots if not covered & set(range(slot.start, slot.end))]

    chosen = [chance.randint(-1, 2) for _ in free]
    characters: list[tuple[str, int]] = [(letter, i) for i, letter in enumerate(context)]
    for slot, choice in reversed(list(zip(free, chosen, strict=True))):
        if choice >= 0:
            characters[slot.start : slot.end] = [(letter, -1) for letter in slot.candidates[choice]]
    numbers = [number for _, number in characters]
    found = list(moved(answers, free, chosen))
    assert [answer.start for answer in found] == [numbers.index(answer.start) for answer in answers]
    text = "".join(letter for letter, _ in characters)
    assert all(text[start : start + len(answer)] == answer for answer, start in found)


@given(st.sets(st.from_regex(r"\A[a#]?#?[0-9]{0,2}(#[0-9])?\Z"), max_size=30), st.integers(0, 12))
def test_no_two_rows_have_the_same_id(names: set[str], copies: int) -> None:
    written = [numbered(name, copy) for name in names for copy in range(copies + 1)]
    assert len(set(written)) == len(written)


def test_ids() -> None:
    assert [numbered("56be", copy) for copy in (0, 1, 12)] == ["56be", "56be#1", "56be#12"]
    # Of a file that is augmented already.
    assert [numbered("56be#1", copy) for copy in (0, 1)] == ["56be#1#0", "56be#1#1"]

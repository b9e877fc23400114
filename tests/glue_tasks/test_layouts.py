"""Records as published to the columns of an entry: CLUEWSC's marks and CSL's keywords."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.clue import joined_keywords, marked_spans


def record(text: str, first: tuple[str, Any], second: tuple[str, Any]) -> dict[str, Any]:
    target = {"span1_text": first[0], "span1_index": first[1], "span2_text": second[0], "span2_index": second[1]}
    return {"text": text, "target": target, "label": "true", "idx": 7}


def marked_one_by_one(text: str, noun: int, noun_length: int, pronoun: int, pronoun_length: int) -> str:
    """Another way to the same: each mark put in by itself, those before it counted."""
    characters = list(text)
    marks = [(noun, "_"), (noun + noun_length, "_"), (pronoun, "["), (pronoun + pronoun_length, "]")]
    first_is_noun = noun < pronoun
    marks.sort(key=lambda mark: (mark[0], (mark[1] == "_") != first_is_noun))
    for moved, (place, mark) in enumerate(marks):
        characters.insert(place + moved, mark)
    return "".join(characters)


@given(st.data(), st.text("他她它们这时候放在床上_[]", min_size=2, max_size=30))
def test_marks_stand_around_the_spans(data: st.DataObject, text: str) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=4, max_size=4)))
    spans = [(cuts[0], cuts[1]), (cuts[2], cuts[3])]
    if any(start == end for start, end in spans):
        return
    if data.draw(st.booleans()):
        spans.reverse()
    (noun, noun_end), (pronoun, pronoun_end) = spans
    given_record = record(text, (text[noun:noun_end], noun), (text[pronoun:pronoun_end], pronoun))
    marked = marked_spans(given_record)
    expected = marked_one_by_one(text, noun, noun_end - noun, pronoun, pronoun_end - pronoun)
    assert marked["text"] == expected
    assert {**marked, "text": text} == given_record  # all else as it was


def test_the_example_of_clues_readme() -> None:
    text = "这时候放在床上枕头旁边的手机响了，我感到奇怪，因为欠费已被停机两个月，现在它突然响了。"
    marked = marked_spans(record(text, ("床", 5), ("它", 37)))
    assert marked["text"] == (
        "这时候放在_床_上枕头旁边的手机响了，我感到奇怪，因为欠费已被停机两个月，现在[它]突然响了。"
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (record("他说她来", ("她", 0), ("他", 0)), "span1_text '她' is not at character 0 of the text"),
        (record("他说她来", ("她", 2), ("他", 9)), "span2_text '他' is not at character 9"),
        (record("他说她来", ("来", -1), ("他", 0)), "span1_text '来' is not at character -1"),
        (record("他说她来", ("她", "2"), ("他", 0)), "span1_index is '2' and not a number of characters"),
        (record("他说她来", ("她", True), ("他", 0)), "span1_index is True"),
        (record("他说她来", ("", 2), ("他", 0)), "target has no span1_text"),
        (record("他说她来", ("说她", 1), ("她来", 2)), "span1 and span2 overlap"),
        ({"text": "他说她来"}, "target is missing and not"),
        ({"text": "他说她来", "target": []}, r"target is \[\] and not"),
        ({"target": {}}, "text is missing and not a string"),
    ],
)
def test_spans_that_are_not_where_they_should_be(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        marked_spans(broken)


def test_keywords_are_joined_by_a_space() -> None:
    given_record = {"abst": "摘要", "keyword": ["水声学", "FFT"], "label": "1"}
    assert joined_keywords(given_record) == {"abst": "摘要", "keyword": "水声学 FFT", "label": "1"}


@pytest.mark.parametrize("keywords", [None, "水声学", [1], [None]])
def test_keywords_that_are_no_list(keywords: object) -> None:
    with pytest.raises(ValueError, match="not a list of strings"):
        joined_keywords({"abst": "摘要", "keyword": keywords})

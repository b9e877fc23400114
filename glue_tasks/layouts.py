"""The layouts that no table entry can say: a JSON record as published, to one of the task's columns.

Each function takes a record and gives it back with the columns of the task's entry; all else is carried along. A
ValueError says in a few words what is wrong with the record; the reader of the file adds where it stands and the cure.
"""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]


def marked_spans(record: Record) -> Record:
    """CLUEWSC2020: the text with its two spans marked, the noun as `_noun_` and the pronoun as `[pronoun]`.

    As CLUE's baseline marks them (github.com/CLUEbenchmark/CLUE, WscProcessor in processors/clue.py), for a model that
    sees one text. `target` holds each span's text and its place, counted in characters from 0. Raises ValueError if a
    span does not stand at its place, or if the two overlap, for then the marks would be somewhere else.
    """
    text, target = record.get("text"), record.get("target")
    if not isinstance(text, str):
        raise ValueError(f"text is {_shown(text)} and not a string")
    if not isinstance(target, Mapping):
        raise ValueError(f"target is {_shown(target)} and not span1_text, span1_index, span2_text, span2_index")
    spans = []
    for name, (before, after) in (("span1", "__"), ("span2", "[]")):
        span, index = target.get(f"{name}_text"), target.get(f"{name}_index")
        if not isinstance(span, str) or not span:
            raise ValueError(f"target has no {name}_text")
        if type(index) is not int:
            raise ValueError(f"{name}_index is {_shown(index)} and not a number of characters")
        if index < 0 or text[index : index + len(span)] != span:
            raise ValueError(f"{name}_text {span!r} is not at character {index} of the text")
        spans.append((index, index + len(span), before, after))
    first, second = sorted(spans)
    if first[1] > second[0]:
        raise ValueError("span1 and span2 overlap")
    for start, end, before, after in (second, first):  # the later one first: the place of the other stays true
        text = text[:start] + before + text[start:end] + after + text[end:]
    return {**record, "text": text}


def joined_keywords(record: Record) -> Record:
    """CSL: the list of keywords as one text, with a space between, as CLUE's baseline joins them (CslProcessor)."""
    keywords = record.get("keyword")
    if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
        raise ValueError(f"keyword is {_shown(keywords)} and not a list of strings")
    return {**record, "keyword": " ".join(keywords)}


def _shown(value: object, limit: int = 60) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= limit else text[:limit] + "…"

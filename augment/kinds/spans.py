"""Spans: words of the question vary, and words of the context outside its answers, which move along.

Written as the hub has SQuAD, in JSON lines: {"id", "context", "question", "answers": {"text": [], "answer_start": []}},
by the names that the task has for them. An answer that is nowhere in its context, as CMRC 2018 has some, stays at -1.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from augment import protected_spans
from augment.augmenter import Augmenter
from augment.kinds import Variant
from augment.kinds.sentences import in_brackets
from augment.settings import Settings
from augment.variants import Slot, draw_replacements
from glue_tasks.cells import Cells
from glue_tasks.rows import Answer, Question, Row

_END = re.compile(r"[.!?]+[\"')\]\u201d\u2019]*\s+|[。！？]+[”』」）]*|\n+")  # of a sentence
_SHORTEST = 160  # bytes: some 30 English words, 50 Chinese characters
_ENDS_AS_A_VARIANT = re.compile(r"#\d+$")


@dataclass(frozen=True)
class Spans:
    """Questions about contexts. Either varies beside the other as it was."""

    settings: Settings
    header: None = None

    def texts(self, row: Row) -> tuple[str, ...]:
        return row.texts

    def slots(self, rows: Sequence[Row], augmenter: Augmenter) -> list[list[list[Slot]]]:
        # Some five questions share a context, of which the masked LM is asked once; of a few sentences at a time, for
        # the time a word takes grows with its text, and a context may be longer than the model.
        has_spaces = self.settings.task.language != "zh"
        parts = {text: list(stretches(text, has_spaces)) for row in rows for text in row.texts}
        asked = list(dict.fromkeys(text[start:end] for text, of_text in parts.items() for start, end in of_text))
        answered = dict(zip(asked, augmenter.slots(asked), strict=True))
        found = {
            text: [
                replace(slot, start=slot.start + start, end=slot.end + start)
                for start, end in of_text
                for slot in answered[text[start:end]]
            ]
            for text, of_text in parts.items()
        }
        return [[found[row.texts[0]], outside(found[row.texts[1]], cast(Question, row).answers or ())] for row in rows]

    def cells(self, row: Row) -> Cells:
        row = cast(Question, row)
        return self._written(row, 0, row.texts, row.answers)

    def variants(self, number: int, row: Row, slots: Sequence[Sequence[Slot]], marked: bool = False) -> list[Variant]:
        row = cast(Question, row)
        variants: list[Variant] = []
        for column, text in enumerate(row.texts):
            of_text = [in_brackets(slot) for slot in slots[column]] if marked else slots[column]
            for drawn, chosen in self._drawn(text, of_text, number, column):
                texts = (drawn, row.texts[1]) if column == 0 else (row.texts[0], drawn)
                answers = row.answers
                if column == 1 and answers:
                    answers = tuple(moved(answers, of_text, chosen))
                variants.append(Variant(column, drawn, self._written(row, len(variants) + 1, texts, answers)))
        return variants

    def _drawn(self, text: str, slots: Sequence[Slot], number: int, column: int) -> Iterable[tuple[str, list[int]]]:
        how = self.settings
        return draw_replacements(text, slots, how.variants, how.probability, how.seed, number, column).items()

    def _written(self, row: Question, copy: int, texts: tuple[str, ...], answers: Sequence[Answer] | None) -> Cells:
        """copy: 0 for the row itself, and then the number of its variant."""
        task = self.settings.task
        (question, context), (its_question, its_context) = task.text_columns, texts
        content: dict[str, Any] = {task.id_column or "id": numbered(row.id, copy)}
        content |= {context: its_context, question: its_question}
        if answers is not None:
            starts = [answer.start for answer in answers]
            content[task.label_column] = {"text": [answer.text for answer in answers], "answer_start": starts}
        return (json.dumps(content, ensure_ascii=False),)


def stretches(text: str, has_spaces: bool) -> Iterator[tuple[int, int]]:
    """Start and end of parts of a text that are whole sentences and have `_SHORTEST` bytes or more, but for the last.

    Together they are the text. None ends inside of what is protected (`protected_spans.py`).
    """
    start = 0
    for match in _END.finditer(protected_spans.mask(text, has_spaces)):
        end = match.end()
        if end < len(text) and len(text[start:end].encode()) >= _SHORTEST:
            yield start, end
            start = end
    yield start, len(text)


def outside(slots: Iterable[Slot], answers: Sequence[Answer]) -> list[Slot]:
    """The slots that no answer has a character of."""
    kept = [(answer.start, answer.start + len(answer.text)) for answer in answers if answer.start >= 0]
    return [slot for slot in slots if not any(slot.start < end and start < slot.end for start, end in kept)]


def moved(answers: Iterable[Answer], slots: Sequence[Slot], chosen: Sequence[int]) -> Iterator[Answer]:
    """The answers where they are in a variant of the context. slots, chosen: those that made it."""
    for answer in answers:
        shift = sum(
            len(slot.candidates[choice]) - (slot.end - slot.start)
            for slot, choice in zip(slots, chosen, strict=True)
            if choice >= 0 and slot.end <= answer.start
        )
        yield Answer(answer.text, answer.start + shift)


def numbered(name: str, copy: int) -> str:
    """The id of a row's variant: "56be#1" is the first of "56be", which is the row's own.

    A row whose own ends as a variant's does has "#0" behind it, so that no two rows have the same.
    """
    return f"{name}#{copy}" if copy or _ENDS_AS_A_VARIANT.search(name) else name

"""Tokens: words outside entities vary, and entities if asked, the tags in step.

Written in JSON lines: {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}, by the names that the task has for them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from augment import chinese
from augment.augmenter import Augmenter
from augment.kinds import Variant
from augment.kinds.swaps import EntitiesByType
from augment.settings import Settings
from augment.variants import draw_choices
from augment.words import Word
from glue_tasks.cells import Cells
from glue_tasks.entities import Entity, read_entities
from glue_tasks.rows import Row, Split

OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class TokenSlot:
    """Tokens of a sentence, and which others may stand in their place."""

    first: int
    last: int  # included
    candidates: Sequence[tuple[str, ...]]  # not empty
    type: str | None = None  # of the entity that they are; None if they are outside

    def tags(self, length: int) -> list[str]:
        """Those of a candidate of so many tokens."""
        if self.type is None:
            return [OUTSIDE] * length
        dash = "-" if self.type else ""
        return [f"B{dash}{self.type}", *[f"I{dash}{self.type}"] * (length - 1)]


class Sentence:
    """A row's tokens as the text that the masked LM reads, and where in it each is."""

    def __init__(self, row: Row, labels: Sequence[str], separator: str):
        self.tokens = row.texts
        self.tags = [OUTSIDE] * len(row.texts) if row.label is None else [labels[i] for i in cast(tuple, row.label)]
        self.text = separator.join(self.tokens)
        self._starts: dict[int, int] = {}  # the character that a token starts or ends at -> its number
        self._ends: dict[int, int] = {}
        at = 0
        for number, token in enumerate(self.tokens):
            if token:
                self._starts[at] = number
                self._ends[at + len(token)] = number
            at += len(token) + len(separator)

    def entities(self) -> list[Entity]:
        return read_entities(self.tags)

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """The first and the last token of a word, or None if it is no whole tokens, or one is of an entity."""
        first, last = self._starts.get(start), self._ends.get(end)
        if first is None or last is None or any(tag != OUTSIDE for tag in self.tags[first : last + 1]):
            return None
        return first, last


@dataclass(frozen=True)
class Tokens:
    """Sentences of tokens with tags of BIO. Without tags every word may vary."""

    settings: Settings
    entities: EntitiesByType | None = None  # None: they stay
    header: None = None

    @classmethod
    def of(cls, split: Split, settings: Settings) -> "Tokens":
        """Raises UserError if entities are to be swapped and the file has no tags."""
        return cls(settings, EntitiesByType.of(split) if settings.swap_entities else None)

    def texts(self, row: Row) -> tuple[str, ...]:
        return (self._separator.join(row.texts),)

    def slots(self, rows: Sequence[Row], augmenter: Augmenter) -> list[list[list[TokenSlot]]]:
        sentences = [Sentence(row, self.settings.task.labels, self._separator) for row in rows]

        def may_vary(number: int, word: Word) -> bool:
            return sentences[number].tokens_of(word.start, word.end) is not None

        all_slots = []
        words = augmenter.slots([sentence.text for sentence in sentences], may_vary)
        for sentence, of_sentence in zip(sentences, words, strict=True):
            in_characters = self._separator == "" and not any(map(_is_chinese_word, sentence.tokens))
            slots = []
            for word in of_sentence:
                place = sentence.tokens_of(word.start, word.end)
                assert place is not None
                slots.append(TokenSlot(*place, [tuple(each) if in_characters else (each,) for each in word.candidates]))
            slots += self._swaps(sentence)
            all_slots.append([sorted(slots, key=lambda slot: slot.first)])
        return all_slots

    def _swaps(self, sentence: Sentence) -> Iterator[TokenSlot]:
        """The entities of a sentence that others of their type may stand for."""
        if self.entities:
            for of_type, first, last in sentence.entities():
                if others := self.entities.others(of_type, sentence.tokens[first : last + 1]):
                    yield TokenSlot(first, last, others, of_type)

    def cells(self, row: Row) -> Cells:
        tags = Sentence(row, self.settings.task.labels, self._separator).tags
        return self._written(row.texts, None if row.label is None else tags)

    def variants(
        self, number: int, row: Row, slots: Sequence[Sequence[TokenSlot]], marked: bool = False
    ) -> list[Variant]:
        how, (of_row,) = self.settings, slots
        sentence = Sentence(row, how.task.labels, self._separator)
        variants: dict[tuple[str, ...], Variant] = {}
        counts = [len(slot.candidates) for slot in of_row]
        for chosen in draw_choices(counts, how.variants if counts else 0, how.probability, how.seed, number):
            tokens: list[str] = []
            tags: list[str] = []
            end = 0
            for slot, choice in zip(of_row, chosen, strict=True):
                if choice >= 0:
                    new = slot.candidates[choice]
                    tokens += [*sentence.tokens[end : slot.first], *(_in_brackets(new) if marked else new)]
                    tags += [*sentence.tags[end : slot.first], *slot.tags(len(new))]
                    end = slot.last + 1
            tokens += sentence.tokens[end:]
            tags += sentence.tags[end:]
            if (key := tuple(tokens)) not in variants and key != sentence.tokens:
                cells = self._written(tokens, None if row.label is None else tags)
                variants[key] = Variant(0, self._separator.join(tokens), cells)
        return list(variants.values())

    def _written(self, tokens: Sequence[str], tags: Sequence[str] | None) -> Cells:
        task = self.settings.task
        content = {task.text_columns[0]: tokens} | ({} if tags is None else {task.label_column: tags})
        return (json.dumps(content, ensure_ascii=False),)

    @property
    def _separator(self) -> str:
        """Between the tokens of a text."""
        return "" if self.settings.task.language == "zh" else " "


def _is_chinese_word(token: str) -> bool:
    """Whether it is one of several characters: then a sentence's tokens are words."""
    return len(token) > 1 and chinese.is_part(token)


def _in_brackets(tokens: Sequence[str]) -> list[str]:
    marked = list(tokens)
    marked[0] = f"[{marked[0]}"
    marked[-1] = f"{marked[-1]}]"
    return marked

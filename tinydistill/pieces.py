"""Word pieces of texts with their places in them, and the special pieces that a model has around texts."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import UserError

_WORD_START = "\u2581"  # of SentencePiece
# Chinese characters (and Japanese and Korean ones) and marks stand alone; words and numbers lie between them.
_ALONE = r"\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_UNITS = re.compile(rf"[{_ALONE}]|[^\W\d_{_ALONE}]+|\d+|[^\w\s]|_")


@dataclass
class Pieces:
    """A text's pieces, and where each stands: characters from `starts[i]` to before `ends[i]`."""

    ids: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, id: int, start: int, end: int) -> None:
        self.ids.append(id)
        self.starts.append(start)
        self.ends.append(end)


def pieces_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, by_character: bool) -> list[Pieces]:
    """The pieces of each text, without special ones.

    by_character: of a language without spaces: a piece then never holds two Chinese characters, so that a span can
    begin and end at each. BERT's tokenizers part them by themselves; those of SentencePiece would not.
    """
    backend = tokenizer.backend_tokenizer
    if by_character and isinstance(backend.model, Unigram):
        read = _UnitReader(tokenizer)
        return [read(text) for text in texts]
    backend.no_truncation()
    backend.no_padding()
    return [_trimmed(text, encoding) for text, encoding in zip(texts, _encoded(backend, texts), strict=True)]


def _encoded(backend: object, texts: Sequence[str]) -> Sequence:
    return backend.encode_batch(list(texts), add_special_tokens=False)  # type: ignore[attr-defined]


def _trimmed(text: str, encoding: object) -> Pieces:
    """With places that leave out the spaces before a word, which some tokenizers count to it."""
    found = Pieces()
    for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):  # type: ignore[attr-defined]
        while start < end - 1 and text[start].isspace():
            start += 1
        found.add(id, start, end)
    return found


class _UnitReader:
    """Pieces of SentencePiece of one Chinese character, mark or word at a time, each as it would be inside a text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.backend = tokenizer.backend_tokenizer
        self.ids_of = functools.lru_cache(maxsize=1 << 16)(self._ids_of)

    def __call__(self, text: str) -> Pieces:
        found = Pieces()
        for match in _UNITS.finditer(text):
            start, end = match.span()
            follows = start > 0 and not text[start - 1].isspace()
            for id in self.ids_of(match.group(), follows):
                found.add(id, start, end)
        return found

    def _ids_of(self, unit: str, follows: bool) -> tuple[int, ...]:
        """follows: whether it stands directly behind another, without a space."""
        normalizer, model = self.backend.normalizer, self.backend.model
        unit = normalizer.normalize_str(unit).strip() if normalizer else unit
        if not unit:
            return ()
        tokens = model.tokenize(unit if follows else f"{_WORD_START}{unit}")
        if len(tokens) > 1 and tokens[0].value == _WORD_START:
            tokens = tokens[1:]
        return tuple(token.id for token in tokens)


@dataclass(frozen=True)
class Frame:
    """The special pieces around one text, or around and between two, and the segment ids of both."""

    parts: tuple[tuple[int, ...], ...]  # before, (between,) after
    part_types: tuple[tuple[int, ...], ...]  # the segment ids of each of them
    text_types: tuple[int, ...]  # and of each text

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerBase, two: bool) -> "Frame":
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        encoding = backend.encode("a", "a") if two else backend.encode("a")
        parts: list[list[int]] = [[]]
        part_types: list[list[int]] = [[]]
        text_types: list[int] = []
        last: int | None = None  # text
        for id, type_id, of in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
            if of is None:
                parts[-1].append(id)
                part_types[-1].append(type_id)
            elif of != last:
                parts.append([])
                part_types.append([])
                text_types.append(type_id)
                last = of
        return Frame(tuple(map(tuple, parts)), tuple(map(tuple, part_types)), tuple(text_types))

    @property
    def size(self) -> int:
        """How many special pieces there are."""
        return sum(map(len, self.parts))

    def room(self, max_length: int, least: int) -> int:
        """How many pieces of texts an example holds. Raises UserError if they are fewer than so many."""
        room = max_length - self.size
        if room < least:
            raise UserError(
                f"a maximum length of {max_length} pieces, {self.size} of them special ones, leaves room for "
                f"{max(room, 0)}; use a longer --max-length"
            )
        return room

    def around(self, *texts: Sequence[int]) -> tuple[list[int], list[int]]:
        """The pieces of an example, and its segment ids."""
        ids, types = list(self.parts[0]), list(self.part_types[0])
        rest = zip(texts, self.text_types, self.parts[1:], self.part_types[1:], strict=True)
        for text, text_type, part, part_types in rest:
            ids += [*text, *part]
            types += [*[text_type] * len(text), *part_types]
        return ids, types

    def start_of_last(self, *texts: Sequence[int]) -> int:
        """Where the last text begins in an example."""
        return sum(map(len, self.parts[:-1])) + sum(map(len, texts[:-1]))

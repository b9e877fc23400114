"""Files of tagged tokens: lines of token and tag as of CoNLL, and records, as of the hub and of CLUENER.

In lines the first column is the token and the last one its tag, with spaces or tabs between; a blank line ends a
sentence, and so does a line of CoNLL's document marks, which is left out. A line that begins with white space has it
as its token. Records are JSON lines, a JSON array or Parquet: a list of tokens, or a text whose characters they are,
and a list of tags, or CLUENER's entities, `{type: {text: [[first, last], ...]}}`.

Tags of any scheme become the task's, BIO. Tokens of white space are left out with their tags, since a model sees
nothing of them, and a sentence of no others too, such as the last one of the hub's MSRA. A sentence that cannot be read
is a Fault in its place.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from glue_tasks.columns import find_columns, wanted_columns
from glue_tasks.entities import Entity, Scheme, find_scheme, to_scheme, write_tags
from glue_tasks.errors import UserError, warn_once
from glue_tasks.lines import RECORDS, Fault, Numbered, read_each, read_lines, shown, suffix_of
from glue_tasks.records import Record, read_records
from glue_tasks.rows import Row, Split, Tally
from glue_tasks.task import Task

_DOCUMENT_MARK = "-DOCSTART-"
_BETWEEN = re.compile("[ \t]+")  # a space of another kind, as U+3000, is a token
_PREFIXES = "BIMES"


class Tagged(NamedTuple):
    """A sentence as the file has it."""

    tokens: Sequence[str]
    tags: Sequence[str | int] | None
    has_lines: bool  # a line for each token

    def place(self, line: int, at: int) -> str:
        """Where a token is, of a sentence that begins on a line."""
        return f"line {line + at}" if self.has_lines else f"line {line}, token {at + 1}"


@dataclass(frozen=True)
class TokenSplit(Split):
    """A split of tagged sentences."""

    scheme: Scheme | None  # of the file's tags; None where there are none, or they are not read
    read: Callable[[], Numbered[Tagged]] = field(repr=False)

    @property
    def is_labelled(self) -> bool:
        return self.scheme is not None

    def _rows(self, tally: Tally) -> Iterator[Row]:
        ids = {label: number for number, label in enumerate(self.task.labels)}
        known = _known_tags(self.task)
        for line, sentence in self.read():
            try:
                if isinstance(sentence, Fault):
                    raise sentence
                row = self._row(line, sentence, ids, known, tally)
            except Fault as fault:
                tally.add_fault(line, fault)
                continue
            # Else only what else is wrong is still of interest.
            if row and (self.skip_bad_rows or not tally.skipped):
                tally.rows += 1
                yield row

    def _row(
        self, line: int, sentence: Tagged, ids: Mapping[str, int], known: frozenset[str], tally: Tally
    ) -> Row | None:
        """The sentence without tokens of white space, its tags as ids; None if it has no others. Raises Fault."""
        kept = [at for at, token in enumerate(sentence.tokens) if token and not token.isspace()]
        tokens = tuple([sentence.tokens[at] for at in kept])
        tags = self._tags(line, sentence, known) if self.scheme is not None else None
        tally.spaces += len(sentence.tokens) - len(kept)
        if not tokens:
            tally.blank += 1
            return None
        if tags is None or self.scheme is None:
            return Row(line, (), tokens, None)
        mended = to_scheme([tags[at] for at in kept], self.scheme)
        if mended.broken:
            tally.mended += mended.broken
            tally.first_mended = tally.first_mended or f"in the sentence of line {line}"
        return Row(line, (), tokens, tuple([ids[tag] for tag in mended.tags]))

    def _tags(self, line: int, sentence: Tagged, known: frozenset[str]) -> list[str]:
        """The tags by their names. Raises Fault."""
        if sentence.tags is None:
            raise Fault("a sentence without tags", "other sentences of the file have some")
        tags = [_named(self.task, self.path, tag) for tag in sentence.tags]
        if not known.issuperset(tags):
            at = next(at for at, tag in enumerate(tags) if tag not in known)
            cure = f"{self.task.name} has {shown(', '.join(self.task.labels), 400)}, or the same in IOB1, BMES, BIOES"
            if tags[at].isdigit() and not self.task.label_codes:
                cure += "; if the file numbers them, say how in label_codes of the task"
            raise Fault(f"unknown tag {shown(tags[at])!r}", cure, sentence.place(line, at))
        return tags


def open_tokens(
    task: Task,
    path: Path,
    split: str,
    skip_bad_rows: bool,
    needs_labels: bool,
    records: Callable[[], Numbered[Record]] | None = None,
) -> TokenSplit:
    """Open a file of the task's split: `glue_tasks.files.open_table` for tokens.

    Raises UserError if the file has no sentence, no tags where they are needed, or tags of two schemes.
    """
    if records is None and suffix_of(path) in RECORDS:
        records = functools.partial(read_records, path)
    read = _record_reader(task, split, records) if records else _line_reader(path)
    opened = TokenSplit(task, path, None, read, skip_bad_rows=skip_bad_rows)
    if split.startswith("test"):
        return opened
    if not any(not isinstance(sentence, Fault) and sentence.tags is not None for _, sentence in read()):
        if next(((line, each) for line, each in read() if not isinstance(each, Fault)), None) is None:
            line, fault = next(read(), (0, Fault("no sentence", "it is empty, or holds blank lines alone")))
            assert isinstance(fault, Fault)
            raise UserError(fault.at(path, line) if line else f"{path} has {fault.what}; {fault.cure}")
        if needs_labels:
            raise UserError(f"{path} has no tags; write one for each token, such as O or {task.labels[1]}")
        warn_once(f"{path} has no tags, and is read without, since none are needed here")
        return opened
    known = _known_tags(task)
    tags = ([_named(task, path, tag) for tag in each.tags or ()] for _, each in read() if not isinstance(each, Fault))
    try:
        scheme = find_scheme(each for each in tags if known.issuperset(each))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return TokenSplit(task, path, scheme, read, skip_bad_rows=skip_bad_rows)


def _known_tags(task: Task) -> frozenset[str]:
    """The tags of all schemes for the types of the task's entities."""
    tags = {prefix + (f"-{each}" if each else "") for prefix in _PREFIXES for each in task.entity_types}
    return frozenset({"O", *tags})


def _named(task: Task, path: Path, tag: str | int) -> str:
    """A tag by its name, where the file has the number that the hub gives it, or the task's code for it."""
    code = str(tag)
    if code in task.label_codes:
        return task.labels[task.label_codes.index(code)]
    if task.hub is None or not isinstance(tag, int) or not 0 <= tag < len(task.labels):
        return code
    order = ", ".join(f"{number} {label}" for number, label in enumerate(task.labels))
    warn_once(f"{path}: the tags are numbers, and are read in the order of {task.hub.repository}: {shown(order, 400)}")
    return task.labels[tag]


# Lines.


def _line_reader(path: Path) -> Callable[[], Numbered[Tagged]]:
    first = next((text for block in _blocks(path) for _, text in block if isinstance(text, str)), "")
    width = len(_columns(first))

    def sentence(block: Sequence[tuple[int, str | Fault]]) -> Tagged:
        rows = []
        for line, text in block:
            if isinstance(text, Fault):
                raise Fault(text.what, text.cure, f"line {line}")
            rows.append(columns := _columns(text))
            if len(columns) != width:
                found = f"{shown(text.strip(), 40)!r} alone" if len(columns) == 1 else f"{len(columns)} columns"
                cure = "a line is a token and its tag, with a space or tab between; a blank line ends a sentence"
                expected = (
                    "a token and its tag are" if width == 2 else f"{width} column{'s are' if width > 1 else ' is'}"
                )
                raise Fault(f"{found} where {expected} expected", cure, f"line {line}")
        tokens = [columns[0] for columns in rows]
        return Tagged(tokens, [columns[-1] for columns in rows] if width > 1 else None, has_lines=True)

    return lambda: read_each(((block[0][0], block) for block in _blocks(path)), sentence)


def _columns(text: str) -> list[str]:
    """The first is empty if the line begins with white space."""
    return _BETWEEN.split(text.rstrip(" \t"))


def _blocks(path: Path) -> Iterator[list[tuple[int, str | Fault]]]:
    """The lines of each sentence, with their numbers."""
    block: list[tuple[int, str | Fault]] = []
    before = 0
    for line, text in read_lines(path):
        is_token = isinstance(text, Fault) or not (text.isspace() or text.startswith(_DOCUMENT_MARK))
        if block and (line > before + 1 or not is_token):
            yield block
            block = []
        before = line
        if is_token:
            block.append((line, text))
    if block:
        yield block


# Records.


def _record_reader(task: Task, split: str, records: Callable[[], Numbered[Record]]) -> Callable[[], Numbered[Tagged]]:
    fields_of: dict[tuple[str, ...], tuple[str, ...]] = {}

    def sentence(record: Record) -> Tagged:
        names = tuple(record)
        if names not in fields_of:
            found = find_columns(task, wanted_columns(task, True), names)
            if isinstance(found, Fault):
                found = find_columns(task, task.text_columns, names)
            if isinstance(found, Fault):
                raise found
            fields_of[names] = tuple(names[at] for at in found)
        text, *label = fields_of[names]
        tokens = _tokens(text, record[text])
        tags = record[label[0]] if label and not split.startswith("test") else None
        if isinstance(tags, Mapping):
            return Tagged(tokens, _tags_of_entities(tokens, tags), has_lines=False)
        if tags is None:
            return Tagged(tokens, None, has_lines=False)
        if not isinstance(tags, list) or not all(type(tag) in (str, int) for tag in tags):
            raise Fault(f"column {label[0]} is no list of tags", 'write ["O", "B-PER"] and so on, a tag for each token')
        if len(tags) != len(tokens):
            raise Fault(f"{len(tokens):,} tokens and {len(tags):,} tags", "write a tag for each token")
        return Tagged(tokens, tags, has_lines=False)

    return lambda: read_each(records(), sentence)


def _tokens(column: str, value: Any) -> Sequence[str]:
    tokens = list(value) if isinstance(value, str) else value
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise Fault(f"column {column} is neither a list of tokens nor a text", 'write ["EU", "rejects"] and so on')
    try:
        "".join(tokens).encode()
    except UnicodeEncodeError:
        raise Fault(f"column {column} holds half a character (a lone surrogate)") from None
    return tokens


def _tags_of_entities(tokens: Sequence[str], entities: Mapping[str, Any]) -> list[str]:
    """The BIO tags of CLUENER's entities. Raises Fault if one is not where it says, or two overlap."""
    found = []
    for of_type, texts in entities.items():
        if not isinstance(texts, Mapping):
            raise Fault(f"the entities of type {shown(of_type)} are no object {{text: [[first, last]]}}")
        for text, places in texts.items():
            for place in places if isinstance(places, list) else [places]:
                match place:
                    case [int(first), int(last)] if (
                        0 <= first <= last < len(tokens) and "".join(tokens[first : last + 1]) == text
                    ):
                        found.append(Entity(of_type, first, last))
                    case _:
                        raise Fault(f"the entity {shown(text)!r} is not at {shown(str(place), 40)}", "count from 0")
    try:
        return write_tags(found, len(tokens), Scheme.BIO)
    except ValueError as error:
        raise Fault(str(error), "leave one of them out") from None

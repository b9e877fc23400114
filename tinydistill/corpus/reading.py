"""The files of a corpus, and their lines: plain text, JSON lines and Parquet, each also gzipped.

Plain text has a sentence or a paragraph a line, and a blank line between documents; a file's end is a document's too.
A record of JSON or Parquet is a document. Nothing longer than a line, or a record, is held in memory.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.lines import RECORDS, Fault, decoded, raw_lines, shown, suffix_of
from glue_tasks.records import open_parquet, read_records

LONGEST_LINE = 10_000_000  # bytes, of text or of JSON: no sentence, and hardly a book, is as long
_ROWS_OF_PARQUET = 100  # read at a time: a row may be a whole book


def corpus_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files of a corpus, those of a folder and the folders in it by name; hidden ones are left out.

    Raises UserError if a path is not there, a folder holds no file, or a file is named twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = list(_below(path, {os.path.realpath(path)}))
            if not files:
                raise UserError(f"{path} holds no files; name a folder with the texts, or the files themselves")
            found += files
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"there is no file or folder {path}; name one that holds the texts")
    if not found:
        raise UserError("a corpus needs a file or a folder of text; name one")
    real: dict[str, Path] = {}
    for path in found:
        before = real.setdefault(os.path.realpath(path), path)
        if before is not path:
            raise UserError(f"{path} is in the corpus twice (also as {before}); name it once")
    return found


def _below(folder: Path, above: set[str]) -> Iterator[Path]:
    """above: the real names of the folders on the way, in which a link may lead round."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            real = os.path.realpath(path)
            if real in above:
                raise UserError(f"{path} is a link that leads back to a folder it lies in; remove it")
            yield from _below(path, {*above, real})
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path} is a link that leads nowhere, or no file; remove it")


def corpus_lines(files: Iterable[Path], field: str = "text") -> Iterator[tuple[str, bool]]:
    """Each line of the files, without the spaces around it, and whether it begins a document; none is blank.

    field: of JSON and Parquet, where a record has its text.
    Raises UserError, which names file and line, where text is not UTF-8, a file is no text, a line is longer than
    `LONGEST_LINE`, or a record has no text.
    """
    for path in files:
        begins = True
        for line in _lines_of(path, field):
            if line:
                yield line, begins
            begins = not line


def documents(files: Iterable[Path], field: str = "text") -> Iterator[list[str]]:
    """The lines of each document, as `corpus_lines` reads them: a document at a time is in memory."""
    lines = corpus_lines(files, field)
    number = 0

    def numbered() -> Iterator[tuple[int, str]]:
        nonlocal number
        for line, begins in lines:
            number += begins
            yield number, line

    for _, document in itertools.groupby(numbered(), key=lambda numbered_line: numbered_line[0]):
        yield [line for _, line in document]


def _lines_of(path: Path, field: str) -> Iterator[str]:
    """Lines, and "" between two documents."""
    if suffix_of(path) not in RECORDS:
        yield from _text_lines(path)
        return
    for text in _parquet_texts(path, field) if suffix_of(path) == ".parquet" else _json_texts(path, field):
        yield from filter(None, (line.strip() for line in text.split("\n")))  # a blank line does not part a record
        yield ""


def _text_lines(path: Path) -> Iterator[str]:
    is_first = True
    for number, raw in enumerate(raw_lines(path, LONGEST_LINE), start=1):
        if b"\0" in raw:
            raise UserError(f"{path}, line {number}: holds a zero byte, as no text does; leave binary files out")
        try:
            line = decoded(raw).strip()
        except Fault as fault:
            raise UserError(fault.at(path, number)) from None
        if is_first and line.startswith("{") and _is_object(line):
            raise UserError(f"{path} holds JSON, not plain text; give it a name that ends in .jsonl")
        is_first = is_first and not line
        yield line


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _json_texts(path: Path, field: str) -> Iterator[str]:
    for line, record in read_records(path, LONGEST_LINE):
        if isinstance(record, Fault):
            raise UserError(record.at(path, line))
        if field not in record:
            raise UserError(
                f"{path}, line {line}: there is no field {shown(field)!r}, but {_named(list(record))}; name the field "
                "that holds the text"
            )
        yield _checked(record[field], f"{path}, line {line}: the field {shown(field)!r}")


def _parquet_texts(path: Path, field: str) -> Iterator[str]:
    with open_parquet(path) as file:
        if field not in (columns := file.schema_arrow.names):
            raise UserError(
                f"{path} has no column {shown(field)!r}, but {_named(columns)}; name the column that holds the text"
            )
        values = (value for batch in file.iter_batches(_ROWS_OF_PARQUET, columns=[field]) for value in batch.column(0))
        for row, value in enumerate(values, start=1):
            try:
                text = value.as_py()
            except UnicodeDecodeError:
                raise UserError(f"{path}, row {row}: the text is not UTF-8; write it as UTF-8") from None
            yield _checked(text, f"{path}, row {row}: the column {shown(field)!r}")


def _checked(text: Any, where: str) -> str:
    if not isinstance(text, str):
        raise UserError(f"{where} holds no text; give each record one, perhaps an empty one")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where} holds half a character (\\u{ord(text[error.start]):04x}); write the text as UTF-8"
            ) from None
    return text


def _named(names: Sequence[str]) -> str:
    return shown(", ".join(map(str, names))) or "no other"

"""Records with named fields: JSON lines (.json, .jsonl), one JSON array, and Parquet.

A record that cannot be read is a Fault in its place, where it is known where the next one begins; else a UserError.
"""

import codecs
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.lines import Fault, open_bytes, read_lines, shown, suffix_of

Record = Mapping[str, Any]
_ROWS_OF_PARQUET = 1_000  # read at a time
_CHUNK = 1 << 20  # bytes of an array read at a time
_LARGEST_OBJECT = 1 << 24  # characters that an array may hold before one of its objects ends


def read_records(path: Path) -> Iterator[tuple[int, Record | Fault]]:
    """Each record and its line, or in Parquet its row, from 1."""
    return _read_parquet(path) if suffix_of(path) == ".parquet" else _read_json(path)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if fields[name] != value:
                raise ValueError(f"the field {name!r} is there twice, with two values")
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def _read_json(path: Path) -> Iterator[tuple[int, Record | Fault]]:
    """JSON lines, an object on each; or one array of objects."""
    with open_bytes(path) as file:
        start = file.read(1 << 12).removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        yield from _read_array(path)
        return
    for line, text in read_lines(path):
        if isinstance(text, Fault):
            yield line, text
        elif text.strip():
            yield line, _parsed(text)


def _parsed(text: str) -> Record | Fault:
    try:
        record = _JSON.decode(text)
    except json.JSONDecodeError as error:
        return Fault(f"no JSON object ({error.msg} at character {error.pos + 1})", "each line is an object {...}")
    except (ValueError, RecursionError) as error:
        return Fault(f"no JSON object that can be read ({error})")
    return record if isinstance(record, dict) else Fault("JSON, but no object", "each line is an object {...}")


_SPACE = re.compile(r"[ \t\r\n]*")  # JSON's white space is these four
_AFTER = {"[": "{]", "{": ",]", ",": "{", "]": ""}  # what may come after what in an array of objects


def _read_array(path: Path) -> Iterator[tuple[int, Record]]:
    """The objects of an array, of which a piece is held at a time. Raises UserError where it is broken."""
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    text, at, line = "", 0, 1  # read so far, up to where it is understood, and in which line that is
    allowed = "["
    with open_bytes(path) as file:

        def go_to(end: int) -> None:
            """Leave behind what is before `end`."""
            nonlocal at, line
            line += text.count("\n", at, end)
            at = end

        def read_more() -> bool:
            nonlocal text, at
            try:
                text, at = text[at:] + decode(chunk := file.read(_CHUNK), final=not chunk), 0
            except UnicodeDecodeError:
                raise UserError(f"{path} is not UTF-8; save it as UTF-8") from None
            return bool(chunk)

        while True:
            go_to(_SPACE.match(text, at).end())  # type: ignore[union-attr]  # it matches nothing, too
            if at == len(text):
                if read_more():
                    continue
                if allowed:
                    raise UserError(f"{path}, line {line}: the array has no end; the file is cut off")
                return
            token = text[at]
            if token not in allowed:
                wanted = " or ".join(allowed) or "its end"
                raise UserError(
                    f"{path}, line {line}: {shown(text[at:], 20)!r} in an array, where {wanted} is expected; write an "
                    "object {...} on each line instead"
                )
            if token != "{":
                go_to(at + 1)
            else:
                try:
                    record, end = _JSON.raw_decode(text, at)
                except json.JSONDecodeError as error:
                    # It may go on in the next piece.
                    if len(text) - at < _LARGEST_OBJECT and read_more():
                        continue
                    raise UserError(f"{path}, line {line}: no JSON object begins here ({error.msg})") from None
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path}, line {line}: no JSON object that can be read ({error})") from None
                yield line, record
                go_to(end)
            allowed = _AFTER[token]


def _read_parquet(path: Path) -> Iterator[tuple[int, Record | Fault]]:
    """Rows of Parquet; a ClassLabel of `datasets` by its name."""
    row = 0
    for batch in parquet_batches(path, _ROWS_OF_PARQUET):
        for record in named_records(batch, class_labels(batch.schema)):
            yield (row := row + 1), record


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`. Raises UserError if it is none, is damaged, or has a column twice."""
    import pyarrow  # takes a moment to import, and few files need it
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if len(set(columns)) < len(columns):
                raise UserError(f"{path} has two columns of one name ({shown(', '.join(columns))}); name them apart")
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); get or make it anew"
        ) from None


def parquet_batches(path: Path, rows: int) -> Iterator[Any]:
    """The file's rows as `pyarrow.RecordBatch`es of so many."""
    with open_parquet(path) as file:
        yield from file.iter_batches(rows)


def named_records(batch: Any, names: Mapping[str, list[str]]) -> Iterator[Record | Fault]:
    """The rows of a `pyarrow.RecordBatch` as records, ClassLabels by their names; -1, which says that there is none,
    stays. A number of 32 bits is written with as few digits as tell it from its neighbours: 3.8, not
    3.799999952316284."""
    import numpy as np

    short = [field.name for field in batch.schema if str(field.type) == "float"]
    for record in batch.to_pylist():
        for column in short:
            if record[column] is not None:
                record[column] = float(str(np.float32(record[column])))
        yield _named(record, names)


def _named(record: dict[str, Any], names: Mapping[str, list[str]]) -> Record | Fault:
    for column, known in names.items():
        value = record[column]
        numbers = value if isinstance(value, list) else [value]  # several in a multi-label column
        for number in numbers:
            if isinstance(number, int) and not -1 <= number < len(known):
                return Fault(f"column {column} holds {number}, and the file names {len(known)} labels, from 0")
        named = [known[number] if isinstance(number, int) and number != -1 else number for number in numbers]
        record[column] = named if isinstance(value, list) else named[0]
    return record


def label_names(path: Path) -> dict[str, list[str]]:
    """The names of each ClassLabel of a Parquet file that can be read; {} for another file."""
    import pyarrow.parquet

    return class_labels(pyarrow.parquet.read_schema(path)) if suffix_of(path) == ".parquet" else {}


def class_labels(schema: Any) -> dict[str, list[str]]:
    """The names behind the numbers of the label columns of a `pyarrow.Schema`, as `datasets` keeps them in the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {}
        for column, feature in ((column, features[column]) for column in schema.names):
            kind = feature.get("feature", feature) if isinstance(feature, dict) else feature  # of what a list is one
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel":
                found[column] = kind["names"]
        return found
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}

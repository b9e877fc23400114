"""Records with named fields: JSON lines (.json, .jsonl), one JSON array, and Parquet.

A record that cannot be read is a Fault in its place, where it is known where the next one begins; else a UserError.
"""

import codecs
import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.lines import Fault, Numbered, open_bytes, read_each, read_lines, shown, suffix_of

Record = Mapping[str, Any]
_ROWS_OF_PARQUET = 1_000  # read at a time
_CHUNK = 1 << 20  # bytes of an array read at a time
_SPACE = " \t\r\n"  # JSON's white space is these four
_LARGEST_OBJECT = 1 << 24  # characters that an array may hold before one of its objects ends


def read_records(path: Path, longest: int | None = None) -> Numbered[Record]:
    """Each record and its line, or in Parquet its row, from 1. longest: bytes that a line of JSON may have."""
    return _read_parquet(path) if suffix_of(path) == ".parquet" else _read_json(path, longest)


def read_object(path: Path) -> Record:
    """The one object that a JSON file holds, over many lines. Raises UserError if it is none."""
    with open_bytes(path) as file:
        raw = file.read()
    try:
        found = _JSON.decode(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: no JSON ({error.msg}); get or make the file anew") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON that can be read ({error}); get or make it anew") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is JSON, but no object")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if fields[name] != value:
                raise ValueError(f"the field {name!r} is there twice, with two values")
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def _read_json(path: Path, longest: int | None) -> Numbered[Record]:
    """JSON lines, an object on each; or one array of objects."""
    with open_bytes(path) as file:
        start = file.read(1 << 12).removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        return _read_array(path)
    lines = ((line, text) for line, text in read_lines(path, longest) if isinstance(text, Fault) or text.strip())
    return read_each(lines, _parsed)


def _parsed(text: str) -> Record:
    try:
        record = _JSON.decode(text)
    except json.JSONDecodeError as error:
        what = f"no JSON object ({error.msg} at character {error.pos + 1})"
        raise Fault(what, "each line is an object {...}") from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"no JSON object that can be read ({error})") from None
    if not isinstance(record, dict):
        raise Fault("JSON, but no object", "each line is an object {...}")
    return record


_AFTER = {"[": "{]", "{": ",]", ",": "{", "]": ""}  # what may come after what in an array of objects


def _read_array(path: Path) -> Iterator[tuple[int, Record]]:
    """The objects of an array, of which a piece is held at a time. Raises UserError where it is broken."""
    text, at, line = "", 0, 1  # read so far, up to where it is understood, and in which line that is
    allowed = "["
    with open_bytes(path) as file:
        characters = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")

        def read_more() -> bool:
            nonlocal text, at
            try:
                text, at = text[at:] + (piece := characters.read(_CHUNK)), 0
            except UnicodeDecodeError:
                raise UserError(f"{path} is not UTF-8; save it as UTF-8") from None
            return bool(piece)

        while at < len(text) or read_more():
            token, end = text[at], at + 1
            if token not in allowed + _SPACE:
                wanted = " or ".join(allowed) or "its end"
                raise UserError(
                    f"{path}, line {line}: {shown(text[at:], 20)!r} in an array, where {wanted} is expected; write an "
                    "object {...} on each line instead"
                )
            if token == "{":
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
            line += text.count("\n", at, end)
            at, allowed = end, _AFTER.get(token, allowed)
    if allowed:
        raise UserError(f"{path}, line {line}: the array has no end; the file is cut off")


def _read_parquet(path: Path) -> Numbered[Record]:
    """Rows of Parquet; a ClassLabel of `datasets` by its name."""
    rows = (row for batch in parquet_batches(path, _ROWS_OF_PARQUET) for row in named_records(batch))
    return enumerate(rows, start=1)


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`, also gzipped. Raises UserError if it is none, is damaged, or has a column
    twice."""
    import pyarrow  # takes a moment to import, and few files need it
    import pyarrow.parquet

    try:
        # A buffer, for else a whole row group is read at once, which may be as large as the file.
        with open_bytes(path) as source, pyarrow.parquet.ParquetFile(source, buffer_size=_CHUNK) as file:
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


def named_records(batch: Any) -> Iterator[Record | Fault]:
    """The rows of a `pyarrow.RecordBatch` as records, ClassLabels by their names; -1, which says that there is none,
    stays. A number of 32 bits is written with as few digits as tell it from its neighbours: 3.8, not
    3.799999952316284."""
    import numpy as np

    short = [field.name for field in batch.schema if str(field.type) == "float"]
    names = class_labels(batch.schema)

    def named(record: dict[str, Any]) -> Record:
        for column in short:
            if record[column] is not None:
                record[column] = float(str(np.float32(record[column])))
        for column, known in names.items():
            value = record[column]
            numbers = value if isinstance(value, list) else [value]  # several in a multi-label column
            for at, number in enumerate(numbers):
                if isinstance(number, int) and number != -1:
                    if not 0 <= number < len(known):
                        raise Fault(f"column {column} holds {number}, and the file names {len(known)} labels, from 0")
                    numbers[at] = known[number]
            record[column] = numbers if isinstance(value, list) else numbers[0]
        return record

    return (row for _, row in read_each(enumerate(batch.to_pylist()), named))


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

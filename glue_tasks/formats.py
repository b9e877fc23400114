"""One reader for each format: rows of cells (.tsv, .csv) or records with named fields (.json, .jsonl, .parquet).

A row that cannot be read is a Fault in its place, where it is known where the next one begins; else a UserError.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.lines import Fault, decoded, raw_lines, read_lines

GRIDS = (".tsv", ".csv")
RECORDS = (".json", ".jsonl", ".parquet")
# A file of each format can stand for one of another; those of text may be packed.
SUFFIXES = (*GRIDS, *RECORDS, *(f"{suffix}.gz" for suffix in (".tsv", ".csv", ".json", ".jsonl")))

Cells = tuple[str, ...]
Record = Mapping[str, Any]
_ROWS_OF_PARQUET = 1_000  # read at a time


def suffix_of(path: Path) -> str:
    """The suffix that says the format: in lower case, and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_cells(path: Path, separator: str = "") -> Iterator[tuple[int, Cells | Fault]]:
    """The line on which each row begins, and its cells.

    Tab-separated rows know no quoting and no escapes, as GLUE's do, so that quotation marks are ordinary characters;
    where every cell of the first row stands in quotation marks the file is quoted, as some programs export. A .csv
    file, and any other separator of one character, is quoted as in RFC 4180.
    """
    separator = separator or ("," if suffix_of(path) == ".csv" else "\t")
    plain = separator == "\t" and suffix_of(path) != ".csv"
    if len(separator) == 1 and (not plain or _is_quoted(path)):
        return _read_quoted(path, separator)
    return _read_plain(path, separator)


def _read_plain(path: Path, separator: str) -> Iterator[tuple[int, Cells | Fault]]:
    before = width = 0
    for line, text in read_lines(path):
        cells = tuple(text.split(separator)) if isinstance(text, str) else text
        width = width or len(cells) if isinstance(cells, tuple) else width
        if width == 1 and line > before + 1 and before:
            yield before + 1, Fault("a blank line between rows of one column", "remove it, or give the row a text")
        before = line
        yield line, cells


def _is_quoted(path: Path) -> bool:
    """Whether the first row has several cells, all of them in quotation marks. A lone cell may be a quotation."""
    first = next((text for _, text in read_lines(path)), "")
    cells = first.split("\t") if isinstance(first, str) else []
    return len(cells) > 1 and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def _read_quoted(path: Path, separator: str) -> Iterator[tuple[int, Cells | Fault]]:
    """RFC 4180: a cell may stand in quotation marks, and those inside it are doubled; it may then hold line breaks.

    Raises UserError where a quotation does not end: which rows it swallowed is not known.
    """
    unreadable: list[Fault] = []

    def lines() -> Iterator[str]:
        for raw in raw_lines(path):
            text = decoded(raw)
            if isinstance(text, Fault):
                unreadable.append(text)
                text = raw.decode(errors="replace")
            yield text

    reader = csv.reader(lines(), delimiter=separator, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}, line {line}: quotation marks that do not close as RFC 4180 says ({error}); put a cell that "
                "holds any in quotation marks, and double those inside it"
            ) from None
        if cells is None:
            return
        if cells:  # not a blank line
            yield line, unreadable.pop() if unreadable else tuple(cells)
        unreadable.clear()
        line = reader.line_num + 1


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
    """JSON lines: an object on each line."""
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


def _read_parquet(path: Path) -> Iterator[tuple[int, Record | Fault]]:
    """Rows of Parquet; a ClassLabel of `datasets` by its name."""
    import pyarrow  # takes a moment to import, and few files need it
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = _class_labels(file.schema_arrow.metadata or {})
            row = 0
            for batch in file.iter_batches(_ROWS_OF_PARQUET):
                for record in batch.to_pylist():
                    for column, known in names.items():
                        value = record.get(column)
                        if isinstance(value, int) and 0 <= value < len(known):
                            record[column] = known[value]
                    yield (row := row + 1), record
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); get or make it anew"
        ) from None


def _class_labels(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names behind the numbers of label columns, as `datasets` keeps them in the file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}

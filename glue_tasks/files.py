"""The official layouts, read and written.

A cell is what stands between two tabs: GLUE's files know no quoting and no escapes, so quotation marks are ordinary
characters. Lines end in LF or CRLF; a byte-order mark may come first. What cannot be read without guessing is a
UserError that names file, line and cure.
"""

import itertools
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from glue_tasks.errors import UserError
from glue_tasks.task import Task

logger = logging.getLogger(__name__)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BREAKS = re.compile(r"[\t\r\n]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One example. `cells` are all columns as the file has them; `label` is an id, a value, or None in a test split."""

    line: int  # 1-based, in the file
    cells: tuple[str, ...]
    texts: tuple[str, ...]
    label: int | float | None


@dataclass(frozen=True)
class Table:
    """An opened split: which columns it has. Iterating reads its rows one at a time, again from the start each time."""

    task: Task
    path: Path
    header: tuple[str, ...] | None
    text_positions: tuple[int, ...]
    label_position: int | None

    def __iter__(self) -> Iterator[Row]:
        columns = self.header or self.task.columns
        torn = 0
        for line, cells in itertools.islice(_read_cells(self.path), 1 if self.header else 0, None):
            if len(cells) < len(columns) and self.task.has_torn_rows:
                torn += 1
                continue
            if len(cells) != len(columns):
                raise UserError(
                    f"{self.path}, line {line}: {len(cells)} columns where {len(columns)} are expected "
                    f"({_shown(', '.join(columns))}); columns are separated by one tab, and a cell holds none"
                )
            label = None
            if self.label_position is not None:
                label = self._label(cells[self.label_position], line)
            yield Row(line, cells, tuple(cells[i] for i in self.text_positions), label)
        if torn:
            logger.warning(
                "%s: %d lines are parts of rows torn by a line break, as published; skipped", self.path, torn
            )

    def replace_texts(self, row: Row, texts: tuple[str, ...]) -> tuple[str, ...]:
        """The row's cells with other texts; all else as it was."""
        cells = list(row.cells)
        for position, text in zip(self.text_positions, texts, strict=True):
            cells[position] = text
        return tuple(cells)

    def _label(self, written: str, line: int) -> int | float:
        task = self.task
        if task.is_regression:
            try:
                value = float(written)
            except ValueError:
                value = float("nan")
            if not abs(value) < float("inf"):  # also false for nan
                raise UserError(
                    f"{self.path}, line {line}: {_shown(written)!r} in column {task.label_column} is not a number"
                )
            return value
        for known in (task.label_codes, task.labels):
            if written in known:
                return known.index(written)
        raise UserError(
            f"{self.path}, line {line}: unknown label {_shown(written)!r} in column {task.label_column}; "
            f"{task.name} has {', '.join(task.label_codes or task.labels)}"
        )


def find_file(task: Task, data_dir: Path, split: str) -> Path:
    """The file of a split below the data directory, `<data_dir>/<task>/<file>`.

    Raises UserError that says which folder or file is missing and where to get it.
    """
    if split not in task.files:
        raise UserError(f"{task.name} has no split {split!r}; its splits are {', '.join(task.files)}")
    path = data_dir / task.name / task.files[split]
    cure = f"get {task.name} from {task.homepage} and unpack it to {data_dir / task.name}"
    if data_dir.name == task.name and (data_dir / task.files[split]).is_file():
        # What the authors' --data_dir takes.
        raise UserError(f"{data_dir} is the folder of {task.name} itself; give the folder above it, {data_dir.parent}")
    for folder in (data_dir, data_dir / task.name):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; {cure}, or name another with --data-dir")
    if not path.is_file():
        raise UserError(f"there is no file {path}; {cure}")
    return path


def open_table(task: Task, path: Path, split: str = "train") -> Table:
    """Open a file in the layout of the task's split; a test split has no labels.

    Raises UserError if the file is missing or empty, or a column is not there.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    header = None
    columns = task.columns
    first = list(itertools.islice(_read_cells(path), 2))
    if split not in task.headerless and first:
        header = columns = first.pop(0)[1]
    if not first:
        raise UserError(f"{path} has no rows; the file is empty or holds a header alone")
    labelled = not split.startswith("test")
    wanted = task.text_columns + ((task.label_column,) if labelled else ())
    for name in wanted:
        if columns.count(name) != 1:
            fault = "no column" if name not in columns else f"{columns.count(name)} columns"
            raise UserError(
                f"{path}, line 1: {fault} named {name!r}; {task.name} needs {', '.join(wanted)}, "
                f"the file has {_shown(', '.join(columns))}"
            )
    positions = tuple(columns.index(name) for name in task.text_columns)
    return Table(task, path, header, positions, columns.index(task.label_column) if labelled else None)


class TableWriter:
    """Writes rows of cells as they are read: tabs between, no quoting, LF ends, no byte-order mark.

    The file appears under its name only when the `with` block ends without an error; until then the rows stand in a
    file of the same name with `.partial` added, which an error removes. A tab or line break inside a cell becomes a
    space; `breaks_replaced` counts the cells so changed.
    """

    def __init__(self, path: Path, header: Iterable[str] | None = None):
        self.path = path
        self.rows = 0
        self.breaks_replaced = 0
        self._partial = path.with_name(path.name + ".partial")
        self._header = header

    def __enter__(self) -> "TableWriter":
        self._file = open(self._partial, "w", encoding="utf-8", newline="")
        if self._header is not None:
            self._file.write("\t".join(self._header) + "\n")
        return self

    def write(self, cells: Iterable[str]) -> None:
        line = "\t".join(cells := list(cells))
        if line.count("\t") != len(cells) - 1 or "\n" in line or "\r" in line:
            self.breaks_replaced += sum(1 for cell in cells if _BREAKS.search(cell))
            line = "\t".join(_BREAKS.sub(" ", cell) for cell in cells)
        try:
            self._file.write(line + "\n")
        except OSError as failure:
            failure.filename = str(self.path)  # a full disk does not say which file
            raise
        self.rows += 1

    def append(self, rows: BinaryIO) -> None:
        """Copy rows from a file that such a writer wrote without a header; `rows` does not count them."""
        self._file.flush()
        shutil.copyfileobj(rows, self._file.buffer, 1 << 20)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self._partial.replace(self.path)
        except OSError as failure:
            failure.filename = failure.filename or str(self.path)
            raise
        finally:
            self._partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any, writer: str = "") -> None:
    """Write a JSON file whole or not at all, making its folder if need be.

    `writer` keeps apart processes that may write it at the same moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{writer}.partial")
    try:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as failure:
        failure.filename = str(path)  # a full disk does not say which file
        raise
    finally:
        partial.unlink(missing_ok=True)


def _shown(text: str, limit: int = 100) -> str:
    """Text short enough for a message: a file of another kind may be one line of a million characters."""
    return text if len(text) <= limit else text[:limit] + "…"


def _read_cells(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line numbers (from 1) and cells; blank lines are no rows. Only LF and CRLF end a line: U+2028 does not."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, start=1):
            if line == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            if not raw:
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {line}: byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8; "
                    "save the file as UTF-8"
                ) from None
            yield line, tuple(text.split("\t"))

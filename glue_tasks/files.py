"""A task's splits, found and read, in whatever format they lie.

A cell is read as it stands. What cannot be read without guessing is a UserError that names file, line and cure.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glue_tasks.columns import cells_of_records, find_columns, wanted_columns
from glue_tasks.errors import UserError
from glue_tasks.formats import RECORDS, Cells, read_cells, read_records, suffix_of
from glue_tasks.label_cells import read_label, read_value
from glue_tasks.lines import Fault, shown
from glue_tasks.task import Task

logger = logging.getLogger(__name__)

_FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One example. `cells` are all columns as the file has them; `label` is an id, a value, or None in a test split."""

    line: int  # 1-based, in the file
    cells: Cells
    texts: tuple[str, ...]
    label: int | float | None


@dataclass
class Tally:
    """What one reading of a table met; whole when the reading is."""

    rows: int = 0  # given out
    unscored: int = 0  # left out: the benchmark does not score their label
    torn: int = 0  # lines that are parts of rows torn as released
    skipped: int = 0  # rows that cannot be read
    first_faults: list[tuple[int, Fault]] = field(default_factory=list)  # with their lines

    def add_fault(self, line: int, fault: Fault) -> None:
        self.skipped += 1
        if len(self.first_faults) < _FAULTS_SHOWN:
            self.first_faults.append((line, fault))

    def faults(self) -> str:
        """The first rows that cannot be read, and how many more."""
        told = ", ".join(f"line {line} ({fault.what})" for line, fault in self.first_faults)
        more = self.skipped - len(self.first_faults)
        return told + (f" and {more:,} more" if more else "")


@dataclass(frozen=True)
class Table:
    """An opened split: which columns it has. Iterating reads its rows one at a time, again from the start each time.

    A row that cannot be read is a UserError at the end of the reading, which names the first such rows and counts them;
    with `skip_bad_rows` a warning.
    """

    task: Task
    path: Path
    header: tuple[str, ...] | None
    text_positions: tuple[int, ...]
    label_position: int | None
    read: Callable[[], Iterator[tuple[int, Cells | Fault]]] = field(repr=False)  # the rows below the header
    width: int
    skip_bad_rows: bool = False
    tally: Tally = field(default_factory=Tally, repr=False, compare=False)  # of the last reading

    def __iter__(self) -> Iterator[Row]:
        tally = self.tally
        vars(tally).update(vars(Tally()))
        ids: dict[str, int] = {}  # labels as written that have occurred
        for line, cells in self.read():
            if isinstance(cells, Fault):
                tally.add_fault(line, cells)
                continue
            if len(cells) != self.width:
                if len(cells) < self.width and self.task.has_torn_rows:
                    tally.torn += 1
                else:
                    tally.add_fault(line, self._wrong_width(cells))
                continue
            label: int | float | None = None
            if self.label_position is not None:
                written = cells[self.label_position]
                label = ids.get(written)
                if label is None:
                    if written.strip() in self.task.unscored_labels:
                        tally.unscored += 1
                        continue
                    read = self._label(written)
                    if isinstance(read, Fault):
                        tally.add_fault(line, read)
                        continue
                    label = read
                    if isinstance(read, int):
                        ids[written] = read
            if tally.skipped and not self.skip_bad_rows:
                continue  # only the faults are still of interest
            tally.rows += 1
            yield Row(line, cells, tuple(cells[i] for i in self.text_positions), label)
        self._tell()

    def replace_texts(self, row: Row, texts: tuple[str, ...]) -> Cells:
        """The row's cells with other texts; all else as it was."""
        cells = list(row.cells)
        for position, text in zip(self.text_positions, texts, strict=True):
            cells[position] = text
        return tuple(cells)

    def _wrong_width(self, cells: Cells) -> Fault:
        return Fault(
            f"{len(cells)} columns where {self.width} are expected",
            f"columns are {shown(', '.join(self.header or self.task.columns))}, separated by one tab, and a cell holds "
            "none",
        )

    def _label(self, written: str) -> int | float | Fault:
        task = self.task
        label = read_value(written) if task.is_regression else read_label(task, written)
        if label is not None:
            return label
        if task.is_regression:
            return Fault(f"{shown(written)!r} in column {task.label_column} is not a number")
        return Fault(
            f"unknown label {shown(written)!r} in column {task.label_column}",
            f"{task.name} has {', '.join(task.label_codes or task.labels)}",
        )

    def _tell(self) -> None:
        """What was left out, as a warning or, where it may not be, as a UserError."""
        tally = self.tally
        if tally.skipped and not (self.skip_bad_rows and tally.rows):
            line, fault = tally.first_faults[0]
            if tally.skipped == 1:
                raise UserError(f"{self.path}, line {line}: {fault.what}" + (f"; {fault.cure}" if fault.cure else ""))
            raise UserError(
                f"{self.path}: {tally.skipped:,} rows cannot be read: {tally.faults()}; mend them, or leave them out "
                "with --skip-bad-rows"
            )
        if tally.skipped:
            logger.warning("%s: skipped %s that cannot be read: %s", self.path, f"{tally.skipped:,}", tally.faults())
        if tally.torn:
            logger.warning(
                "%s: %d lines are parts of rows torn by a line break, as published; skipped", self.path, tally.torn
            )
        if tally.unscored:
            labels = " or ".join(map(repr, self.task.unscored_labels))
            logger.warning("%s: %d rows labelled %s are left out, as published", self.path, tally.unscored, labels)


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


def open_table(task: Task, path: Path, split: str = "train", skip_bad_rows: bool = False) -> Table:
    """Open a file of the task's split; a test split has no labels.

    A file of records (.json, .jsonl, .parquet) has the task's columns alone, without what else a record holds; a test
    split also `task.id_column`, where it is there. Raises UserError if the file is missing or empty, or a column is not
    there.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    labelled = not split.startswith("test")
    opened = _open_records if suffix_of(path) in RECORDS else _open_grid
    return opened(task, path, split, labelled, skip_bad_rows)


def _open_records(task: Task, path: Path, split: str, labelled: bool, skip_bad_rows: bool) -> Table:
    first = next((record for _, record in read_records(path) if not isinstance(record, Fault)), None)
    if first is None:
        raise UserError(f"{path} has no rows; it holds no record")
    header = wanted_columns(task, labelled)
    if not labelled and task.id_column in first:
        header = (task.id_column, *header)
    return Table(
        task,
        path,
        header,
        tuple(header.index(name) for name in task.text_columns),
        header.index(task.label_column) if labelled else None,
        lambda: cells_of_records(task, header, lambda: read_records(path)),
        len(header),
        skip_bad_rows,
    )


def _open_grid(task: Task, path: Path, split: str, labelled: bool, skip_bad_rows: bool) -> Table:
    header = None
    columns = task.columns

    def read() -> Iterator[tuple[int, Cells | Fault]]:
        return itertools.islice(read_cells(path, task.separator), 1 if header else 0, None)

    first = list(itertools.islice(read_cells(path, task.separator), 2))
    if split not in task.headerless and first:
        line, cells = first.pop(0)
        if isinstance(cells, Fault):
            raise UserError(f"{path}, line {line}: {cells.what}; {cells.cure}")
        header = columns = cells
    if not first:
        raise UserError(f"{path} has no rows; the file is empty or holds a header alone")
    positions = find_columns(task, wanted_columns(task, labelled), columns)
    if isinstance(positions, Fault):
        raise UserError(f"{path}, line 1: {positions.what}; {positions.cure}")
    texts = len(task.text_columns)
    label_position = positions[-1] if labelled else None
    return Table(task, path, header, positions[:texts], label_position, read, len(columns), skip_bad_rows)

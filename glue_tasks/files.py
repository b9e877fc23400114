"""A task's splits, read in whatever format they are.

A cell is read as it stands. What cannot be read without guessing is a UserError that names file, line and cure.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glue_tasks.cells import Cells, read_cells
from glue_tasks.columns import cells_of_records, find_columns, wanted_columns, without_others
from glue_tasks.errors import UserError, warn_once
from glue_tasks.header import FIRST_ROWS, find_header
from glue_tasks.labels import FileLabels, Label, check_names, is_no_label, is_unscored
from glue_tasks.lines import RECORDS, Fault, Numbered, shown, suffix_of
from glue_tasks.question_files import open_questions
from glue_tasks.records import Record, label_names, read_records
from glue_tasks.rows import Row, Split, Tally
from glue_tasks.task import Task
from glue_tasks.token_files import open_tokens


@dataclass(frozen=True)
class Table(Split):
    """A split of sentences or pairs, and which columns it has."""

    header: tuple[str, ...] | None
    columns: tuple[str, ...]  # the header, or what the columns are called where there is none
    text_positions: tuple[int, ...]
    label_position: int | None
    called: tuple[str, ...]  # what the file calls the texts and the label, where it has names
    read: Callable[[], Numbered[Cells]] = field(repr=False)  # the rows below the header

    @property
    def is_labelled(self) -> bool:
        return self.label_position is not None

    def _rows(self, tally: Tally) -> Iterator[Row]:
        labels = FileLabels(self.task, self.path)
        for line, cells in self.read():
            try:
                row = self._row(line, cells, labels, tally)
            except Fault as fault:
                tally.add_fault(line, fault)
                continue
            if row and (self.skip_bad_rows or not tally.skipped):  # else only what else is wrong is still of interest
                tally.rows += 1
                yield row

    def _row(self, line: int, cells: Cells | Fault, labels: FileLabels, tally: Tally) -> Row | None:
        """The row, or None if it is one that is left out as the task has it. Raises Fault."""
        if isinstance(cells, Fault):
            raise cells
        if len(cells) != len(self.columns):
            if len(cells) < len(self.columns) and self.task.has_torn_rows:
                tally.torn += 1
                return None
            cells = self._trimmed(cells)
        label: Label | None = None
        if self.label_position is not None:
            written = cells[self.label_position]
            if self.task.unscored_labels and is_unscored(self.task, written):
                tally.unscored += 1
                return None
            label = labels.read(line, written)
        texts = tuple([cells[at] for at in self.text_positions])
        if "" in [text.strip() for text in texts]:
            if self.skip_bad_rows:
                raise Fault("a row without a text")
            tally.empty += 1
            tally.first_empty = tally.first_empty or line
        return Row(line, cells, texts, label)

    def replace_texts(self, row: Row, texts: tuple[str, ...]) -> Cells:
        """The row's cells with other texts; all else as it was."""
        cells = list(row.cells)
        for position, text in zip(self.text_positions, texts, strict=True):
            cells[position] = text
        return tuple(cells)

    def _trimmed(self, cells: Cells) -> Cells:
        """The row without empty cells after its last column, if that is the label's. Raises Fault.

        If it is a text's, a separator inside another cell may have shifted an empty text out.
        """
        width = len(self.columns)
        more = cells[width:]
        if more and not any(more) and self.label_position == width - 1:
            return cells[:width]
        raise Fault(
            f"{len(cells)} column{'s' * (len(cells) != 1)} where {width} are expected",
            f"the columns are {shown(', '.join(self.columns))}; a row is one line, and no cell holds what separates "
            "them",
        )


def open_table(
    task: Task, path: Path, split: str = "train", skip_bad_rows: bool = False, needs_labels: bool = True
) -> Split:
    """Open a file of the task's split, whatever the task's kind; a test split has no labels.

    A file of records (.json, .jsonl, .parquet) has the task's columns alone, without what else a record holds; a test
    split also `task.id_column`, where it is there.

    needs_labels: whether a file without labels is refused. Else its rows have none, as those of a test split: where no
        column is the label's, or it is empty, or -1, in every row. One that has some labels has to have all.

    Raises UserError if the file is missing or empty, or a column is not there.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if task.kind in ("tokens", "spans"):
        return open_rows(task, path, split, skip_bad_rows, needs_labels)
    labelled = not split.startswith("test")
    opened = _open_records if suffix_of(path) in RECORDS else _open_grid
    try:
        table = opened(task, path, split, labelled, skip_bad_rows)
        if not labelled or _has_labels(table, when_unknown=needs_labels):
            return table
        raise UserError(
            f"{path} has no labels: {shown(task.label_column)} is empty or -1 in every row, as in the hub's test splits"
        )
    except UserError as unlabelled:
        if not labelled or needs_labels:
            raise
        try:
            table = opened(task, path, split, False, skip_bad_rows)
        except UserError:
            raise unlabelled from None
        warn_once(f"{path} is read without labels, which are not needed here ({unlabelled})")
        return table


def open_rows(
    task: Task,
    path: Path,
    split: str = "train",
    skip_bad_rows: bool = False,
    needs_labels: bool = True,
    records: Callable[[], Numbered[Record]] | None = None,
) -> Split:
    """`open_table` for tokens and spans; of these records, where they do not come from the file itself."""
    opened = open_tokens if task.kind == "tokens" else open_questions
    return opened(task, path, split, skip_bad_rows, needs_labels, records)


def _has_labels(table: Table, when_unknown: bool) -> bool:
    """Whether a row has a label, as nearly always the first; `when_unknown` if none has a column for it that can be
    read."""
    at = table.label_position
    assert at is not None
    for _, cells in table.read():
        if not isinstance(cells, Fault) and len(cells) >= len(table.columns):
            if not is_no_label(table.task, cells[at]):
                return True
            when_unknown = False
    return when_unknown


def _open_records(task: Task, path: Path, split: str, labelled: bool, skip_bad_rows: bool) -> Table:
    records = read_records(path)
    line, first = next(records, (0, None))
    if first is None:
        raise UserError(f"{path} has no rows; it holds no record")
    if isinstance(first, Fault):
        # With --skip-bad-rows the next may do; where there is none, the first says best what the file is.
        fault = UserError(first.at(path, line))
        first = next((record for _, record in records if not isinstance(record, Fault)), None)
        if first is None:
            raise fault
    header = wanted_columns(task, labelled)
    found = find_columns(task, header, tuple(first))
    # Else made by from_record, or an error of the rows.
    called = header if isinstance(found, Fault) else tuple(tuple(first)[at] for at in found)
    if labelled:
        check_names(task, path, label_names(path).get(called[-1], []))
    ids = (task.id_column,) if task.id_column and not labelled else ()
    if ids and not isinstance(find_columns(task, ids, tuple(first)), Fault):
        header = (task.id_column, *header)
    texts = tuple(header.index(name) for name in task.text_columns)
    label = header.index(task.label_column) if labelled else None

    def read() -> Numbered[Cells]:
        return cells_of_records(task, header, read_records(path))

    return Table(task, path, header, header, texts, label, called, read, skip_bad_rows=skip_bad_rows)


def _open_grid(task: Task, path: Path, split: str, labelled: bool, skip_bad_rows: bool) -> Table:
    def read_all() -> Numbered[Cells]:
        return read_cells(path, task.separator, task.has_torn_rows)

    def read() -> Numbered[Cells]:
        below = itertools.islice(read_all(), has_header, None)
        return without_others(task, labelled, columns, below) if has_header else below

    start = list(itertools.islice(read_all(), FIRST_ROWS))
    no_rows = UserError(f"{path} has no rows; the file is empty or holds a header alone")
    if not start:
        raise no_rows
    line, first = start[0]
    rows = [cells for _, cells in start if not isinstance(cells, Fault)]
    found = first if isinstance(first, Fault) else find_header(task, split, labelled, rows)
    if isinstance(found, Fault):
        raise UserError(found.at(path, line))
    has_header, columns, positions = found
    if len(start) == has_header:
        raise no_rows
    if not has_header and (split not in task.headerless or columns != (task.columns or columns)):
        warn_once(f"{path}: no header; its {len(columns)} columns are read as {', '.join(columns)}")
    line, row = start[has_header]
    if not isinstance(row, Fault):
        packed = next((cell for cell in row if cell.startswith(("['", '["', "{'", '{"'))), "")
        if packed and task.from_record:
            raise UserError(
                f"{path}, line {line}: {shown(packed, 40)!r} is a list or record written as text, and {task.name}'s "
                "texts are made of it; write the file as JSON lines or Parquet"
            )
        while len(columns) > len(row) and not columns[-1]:
            columns = columns[:-1]  # separators after the last name, and none below
    texts, label = positions[: len(task.text_columns)], positions[-1] if labelled else None
    called = tuple(columns[at] for at in positions)
    return Table(
        task, path, columns if has_header else None, columns, texts, label, called, read, skip_bad_rows=skip_bad_rows
    )

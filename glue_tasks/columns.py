"""Which column of a file is which of a task: by name, else by an alias, else by position where there is no header."""

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from glue_tasks.cells import SEPARATORS, Cells
from glue_tasks.headerless import is_label
from glue_tasks.labels import composed, label_id, read_id
from glue_tasks.lines import Fault, shown
from glue_tasks.records import Record
from glue_tasks.task import Task, numbered_column

# Where a file names the label beside its code or number: CLUE's files, and copies such as SetFit's.
_NAMES_BESIDE = ("label_desc", "label_des", "label_text", "label_name")
_SETS_KEPT = 1_000  # of field names; a file has a few


def wanted_columns(task: Task, labelled: bool) -> tuple[str, ...]:
    """The columns without which a split cannot be read."""
    return task.text_columns + ((task.label_column,) if labelled else ())


def find_columns(task: Task, wanted: Sequence[str], columns: Sequence[str]) -> tuple[int, ...] | Fault:
    """The position of each wanted column, under the name that the task, an alias or the hub gives it.

    A Fault if one is not there, or is there twice.
    """
    positions = []
    for name in wanted:
        of_hub = (task.hub.columns.get(name, name),) if task.hub else ()
        found = _find(name, (*task.column_aliases.get(name, ()), *of_hub), columns)
        if isinstance(found, Fault):
            return Fault(found.what, f"{task.name} needs {', '.join(wanted)}, the file has {shown(', '.join(columns))}")
        positions.append(found)
    if len(set(positions)) < len(positions):
        twice = next(columns[at] for at in positions if positions.count(at) > 1)
        return Fault(f"one column {twice!r} for several of {', '.join(wanted)}", f"name each of {task.name}'s columns")
    return tuple(positions)


def _find(name: str, aliases: Sequence[str], columns: Sequence[str]) -> int | Fault:
    """By each name in turn as it is written, then by the same letters: upper and lower case, spaces aside."""
    plain = [_letters(column) for column in columns]
    for known in (name, *aliases):
        for within, wanted in ((columns, known), (plain, _letters(known))):
            times = list(within).count(wanted)
            if times > 1:
                return Fault(f"{times} columns named {known!r}")
            if times:
                return list(within).index(wanted)
    return Fault(f"no column named {name!r}")


def _letters(name: str) -> str:
    return composed("".join(name.split()).strip("\ufeff").casefold())


def find_header(task: Task, split: str, labelled: bool, first: Cells) -> tuple[Cells | None, tuple[int, ...]] | Fault:
    """The first row if it is a header, else None; and the positions of the wanted columns.

    `task.headerless` says whether there is a header. Where it is the other way round, that is recognised if it is
    certain: a header has all the names, and no label where the task's files have theirs.
    """
    wanted = wanted_columns(task, labelled)
    columns = columns_without_header(task, len(first))
    by_name = find_columns(task, wanted, _with_numbers(wanted, first))
    by_position = find_columns(task, wanted, columns)
    # A test split may have labels too.
    label = dict(zip(columns, first, strict=False)).get(task.label_column, "")
    is_row = len(first) == len(columns) and is_label(task, label)
    if split in task.headerless and (is_row or isinstance(by_name, Fault) or not (labelled or _is_names(task, first))):
        return by_position if isinstance(by_position, Fault) else (None, by_position)
    if not isinstance(by_name, Fault):
        if split in task.headerless and len(first) == 1:
            return Fault(f"{first[0]!r} may be the name of the column or a text", "remove it, or write a row again")
        if is_row and not task.columns:
            return Fault(f"{label!r} is a label, and no name of a column", "write header = false, or names above it")
        return first, by_name
    if is_row and not isinstance(by_position, Fault):
        return None, by_position
    if first[0].lstrip().startswith(("{", "[{")):
        return Fault(by_name.what, "the file looks like JSON; give it a name that ends in .jsonl")
    if len(first) == 1 and (sign := next((sign for sign in "\t;|," if sign in first[0]), "")):
        cure = "save the file as .tsv with tabs or as .csv with commas, or say separator in a task file"
        return Fault(by_name.what, f"{by_name.cure}; if {SEPARATORS[sign]} is between them, {cure}")
    if labelled and any(is_label(task, cell) for cell in first):
        return Fault(by_name.what, f"{by_name.cure}; if this is a row, write the names of the columns above it")
    return by_name


def columns_without_header(task: Task, width: int) -> Cells:
    """What the columns of such a file are called: as the task says, else by their numbers."""
    return task.columns or tuple(numbered_column(at) for at in range(1, width + 1))


def without_others(
    task: Task, labelled: bool, header: Cells | None, rows: Iterator[tuple[int, Cells | Fault]]
) -> Iterator[tuple[int, Cells | Fault]]:
    """The rows; a Fault in place of one that, by its other columns, is none of the task's or has another label."""
    if header is None or not {*task.only, *_NAMES_BESIDE} & {*header}:
        return rows
    fault_of = _other_columns(task, labelled)
    return (
        (line, cells if isinstance(cells, Fault) else fault_of(dict(zip(header, cells, strict=False))) or cells)
        for line, cells in rows
    )


def _other_columns(task: Task, labelled: bool) -> Callable[[Record], Fault | None]:
    """What a record's other columns say against it: `task.only`, and the name of the label beside its number."""
    agree: set[tuple[str, str]] = set()

    def fault_of(record: Record) -> Fault | None:
        for column, ours in task.only.items():
            if record.get(column, ours) != ours:
                return Fault(f"{column} is {shown(str(record[column]))!r} and not {ours!r}", "take such rows out")
        one_label = labelled and not task.is_multi_label
        beside = next((column for column in _NAMES_BESIDE if column in record), "") if one_label else ""
        if beside and task.label_column in record:
            both = label, name = str(record[task.label_column]), str(record[beside])
            if both not in agree:
                meant = read_id(task, label)
                if meant is not None and label_id(task, name) not in (meant, None):
                    reading = f"the label {label!r} is {task.labels[meant]}, and {beside} says {shown(name)}"
                    return Fault(reading, "the labels are numbered in another order than the task's; write their names")
                agree.add(both)
        return None

    return fault_of


def _with_numbers(wanted: Sequence[str], header: Cells) -> Cells:
    """The header, in which columns that the task knows by their numbers are called so."""
    numbers = [numbered_column(at) for at in range(1, len(header) + 1)]
    return tuple(
        number if number in wanted and number not in header else name
        for number, name in zip(numbers, header, strict=True)
    )


def _is_names(task: Task, cells: Cells) -> bool:
    """Whether every cell is the name of one of the task's columns."""
    aliases = (alias for names in task.column_aliases.values() for alias in names)
    known = {*map(_letters, (*task.columns, *task.text_columns, *aliases, "id", "idx", "index"))}
    return {*map(_letters, cells)} <= known


def cells_of_records(
    task: Task, wanted: Sequence[str], records: Callable[[], Iterator[tuple[int, Record | Fault]]]
) -> Iterator[tuple[int, Cells | Fault]]:
    """The wanted columns of each record, as text.

    `task.from_record` maps a record as published. One of nothing but the task's columns is read by their names.
    """
    columns = {*task.text_columns, task.label_column, task.id_column}
    positions: dict[tuple[str, ...], tuple[str, ...] | Fault] = {}  # of each set of fields that occurs
    fault_of = _other_columns(task, task.label_column in wanted)
    label = wanted.index(task.label_column) if task.is_multi_label and task.label_column in wanted else -1
    for line, record in records():
        if isinstance(record, Fault):
            yield line, record
            continue
        if fault := fault_of(record):
            yield line, fault
            continue
        if task.from_record is not None:
            try:
                record = task.from_record(record)
            except KeyError as error:
                if not columns.issuperset(record):  # else it is a table that was written from the task's columns
                    yield line, Fault(f"no field {error}, with which {task.name} was published")
                    continue
            except (TypeError, ValueError, AttributeError, IndexError) as error:
                yield line, Fault(f"a record that is not as {task.name} was published ({error})")
                continue
        names = tuple(record)
        if names not in positions:
            found = find_columns(task, wanted, names)
            if len(positions) == _SETS_KEPT:
                positions.clear()
            positions[names] = found if isinstance(found, Fault) else tuple(names[at] for at in found)
        fields = positions[names]
        if label >= 0 and not isinstance(fields, Fault) and isinstance(several := record[fields[label]], list):
            record = {**record, fields[label]: task.label_separator.join(map(str, several))}
        yield line, _cells(record, fields, wanted.index(task.id_column) if task.id_column in wanted else -1)


def _cells(record: Record, names: tuple[str, ...] | Fault, id_at: int) -> Cells | Fault:
    if isinstance(names, Fault):
        return names
    cells = []
    for at, name in enumerate(names):
        value = record[name]
        is_empty = value is None or value != value  # NaN: what a table makes of nothing
        cell = "" if is_empty and at != id_at else _text(value)
        if isinstance(cell, Fault):
            return Fault(f"column {name} holds {cell.what}", cell.cure)
        cells.append(cell)
    return tuple(cells)


def _text(value: Any) -> str | Fault:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return Fault("half a character (a lone surrogate)")
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal) or (isinstance(value, float) and not math.isnan(value)):
        return str(value)
    if value is None or isinstance(value, float):
        return Fault("nothing", "take the row out, or number it")
    return Fault(f"a {type(value).__name__}, not text", "each column holds a text or a number")

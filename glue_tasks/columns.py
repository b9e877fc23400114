"""Which column of a file is which of a task, by name or by an alias; and the cells of a record."""

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from glue_tasks.cells import Cells
from glue_tasks.labels import composed, label_id, read_id
from glue_tasks.lines import Fault, shown
from glue_tasks.records import Record
from glue_tasks.task import Task

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
    plain = [letters_of(column) for column in columns]
    for known in (name, *aliases):
        for within, wanted in ((columns, known), (plain, letters_of(known))):
            times = list(within).count(wanted)
            if times > 1:
                return Fault(f"{times} columns named {known!r}")
            if times:
                return list(within).index(wanted)
    return Fault(f"no column named {name!r}")


def letters_of(name: str) -> str:
    """A column's name by which it is compared: without case and spaces."""
    return composed("".join(name.split()).strip("\ufeff").casefold())


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


def cells_of_records(
    task: Task, wanted: Sequence[str], records: Iterator[tuple[int, Record | Fault]]
) -> Iterator[tuple[int, Cells | Fault]]:
    """The wanted columns of each record, as text.

    `task.from_record` maps a record as published. One of nothing but the task's columns is read by their names.
    """
    columns = {*task.text_columns, task.label_column, task.id_column}
    positions: dict[tuple[str, ...], tuple[str, ...] | Fault] = {}  # of each set of fields that occurs
    fault_of = _other_columns(task, task.label_column in wanted)
    label = wanted.index(task.label_column) if task.is_multi_label and task.label_column in wanted else -1
    for line, record in records:
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

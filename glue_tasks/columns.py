"""Which column of a file is which of a task, by name or by an alias; and the cells of a record."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from glue_tasks.cells import Cells
from glue_tasks.labels import composed, label_id, read_id
from glue_tasks.lines import Fault, Numbered, read_each, shown
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


def without_others(task: Task, labelled: bool, header: Cells, rows: Numbered[Cells]) -> Numbered[Cells]:
    """The rows; a Fault in place of one that, by its other columns, is none of the task's or has another label."""
    if not {*task.only, *_NAMES_BESIDE} & {*header}:
        return rows
    check = _check_of_others(task, labelled)

    def checked(cells: Cells) -> Cells:
        check(dict(zip(header, cells, strict=False)))
        return cells

    return read_each(rows, checked)


def _check_of_others(task: Task, labelled: bool) -> Callable[[Record], None]:
    """Raises a Fault by what a record's other columns say: `task.only`, and the label's name beside its number."""
    agree: set[tuple[str, str]] = set()

    def check(record: Record) -> None:
        for column, ours in task.only.items():
            if record.get(column, ours) != ours:
                raise Fault(f"{column} is {shown(str(record[column]))!r} and not {ours!r}", "take such rows out")
        beside = next((column for column in _NAMES_BESIDE if column in record), "")
        if not (labelled and beside and task.label_column in record) or task.is_multi_label:
            return
        both = label, name = str(record[task.label_column]), str(record[beside])
        if both not in agree:
            meant = read_id(task, label)
            if meant is not None and label_id(task, name) not in (meant, None):
                reading = f"the label {label!r} is {task.labels[meant]}, and {beside} says {shown(name)}"
                raise Fault(reading, "the labels are numbered in another order than the task's; write their names")
            agree.add(both)

    return check


def cells_of_records(task: Task, wanted: Sequence[str], records: Numbered[Record]) -> Numbered[Cells]:
    """The wanted columns of each record, as text.

    `task.from_record` maps a record as published. One of nothing but the task's columns is read by their names.
    """
    columns = {*task.text_columns, task.label_column, task.id_column}
    fields_of: dict[tuple[str, ...], tuple[str, ...]] = {}  # of each set of fields that occurs
    check = _check_of_others(task, task.label_column in wanted)

    def cells_of(record: Record) -> Cells:
        check(record)
        if task.from_record is not None:
            try:
                record = task.from_record(record)
            except KeyError as error:
                if not columns.issuperset(record):  # else it is a table that was written from the task's columns
                    raise Fault(f"no field {error}, with which {task.name} was published") from None
            except (TypeError, ValueError, AttributeError, IndexError) as error:
                raise Fault(f"a record that is not as {task.name} was published ({error})") from None
        names = tuple(record)
        if names not in fields_of:
            found = find_columns(task, wanted, names)
            if isinstance(found, Fault):
                raise found
            if len(fields_of) == _SETS_KEPT:
                fields_of.clear()
            fields_of[names] = tuple(names[at] for at in found)
        return tuple(
            _cell(task, ours, field, record[field]) for ours, field in zip(wanted, fields_of[names], strict=True)
        )

    return read_each(records, cells_of)


def _cell(task: Task, ours: str, field: str, value: Any) -> str:
    """A field as text. Raises Fault if it holds something else, or is no id where the column is that of ids."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Fault(f"column {field} holds half a character (a lone surrogate)") from None
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value != value:  # NaN: what a table makes of nothing
        if ours == task.id_column:
            raise Fault(f"column {field} holds nothing", "take the row out, or number it")
        return ""
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list) and ours == task.label_column and task.is_multi_label:
        return task.label_separator.join(map(str, value))
    raise Fault(f"column {field} holds a {type(value).__name__}, not text", "each column holds a text or a number")

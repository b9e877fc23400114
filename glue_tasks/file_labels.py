"""The labels of one file: names and codes of the task, or the numbers that `datasets` writes; never some of both."""

from collections.abc import Sequence
from pathlib import Path

from glue_tasks.errors import UserError
from glue_tasks.labels import Label, number_of_hub, plain, read_id, read_label, split_labels
from glue_tasks.lines import Fault, shown
from glue_tasks.tally import warn_once
from glue_tasks.task import Task


class FileLabels:
    """Reads the labels of a file, each distinct one once. Numbers of the hub's ClassLabel are a warning that says
    what they are read as."""

    def __init__(self, task: Task, path: Path):
        self.task = task
        self.path = path
        self._ids: dict[str, int] = {}  # of labels as they are written
        self._first: tuple[int, str] | None = None  # the line of the first label, and the label as it is written
        self._numbered = False  # whether it is a number of the hub's

    def read(self, line: int, written: str) -> Label:
        """The label that a cell holds. Raises Fault; UserError where some labels are the hub's numbers and others are
        not: which they all are is not known then."""
        if self.task.is_multi_label:
            return tuple(sorted({self._id(line, each) for each in split_labels(self.task, written)}))
        if self.task.is_regression:
            value = read_label(self.task, written)
            if value is None:
                raise Fault(f"{self._where(written)} is not a number")
            return value
        return self._id(line, written)

    def _id(self, line: int, written: str) -> int:
        if (known := self._ids.get(written)) is not None:
            return known
        task = self.task
        # A line break in a label is what a quotation mark too many swallowed.
        label = None if "\n" in written else read_id(task, written)
        if label is not None:
            self._check_order(line, written)
            self._ids[written] = label
            return label
        if self._numbered and plain(written).isdigit():
            raise self._two_orders(line, written)
        cure = f"{task.name} has {', '.join(task.label_codes or task.labels)}"
        if task.hub is None and not task.label_codes and plain(written).isdigit():
            cure += "; if the file numbers them, say how in label_codes of the task"
        raise Fault(f"unknown label {self._where(written)}", cure)

    def _where(self, written: str) -> str:
        return f"{shown(written)!r} in column {self.task.label_column.removeprefix('column ')}"

    def _check_order(self, line: int, written: str) -> None:
        task, is_number = self.task, number_of_hub(self.task, written) is not None
        if self._first is None:
            self._first, self._numbered = (line, written), is_number
            if is_number and task.hub:
                order = ", ".join(f"{number} {label}" for number, label in enumerate(task.labels))
                warn_once(
                    f"{self.path}: the labels are numbers, and are read in the order of {task.hub.repository}: "
                    f"{shown(order, 400)}; if they mean something else, write {self._known()}"
                )
        if is_number != self._numbered:
            raise self._two_orders(line, written)

    def _two_orders(self, line: int, written: str) -> UserError:
        task = self.task
        first_line, first = self._first or (line, written)
        number, other = (first, written) if self._numbered else (written, first)
        meant = task.labels[number_of_hub(task, number) or 0]
        hub = task.hub.repository if task.hub else ""
        return UserError(
            f"{self.path}, line {line}: the label {written!r}, and {first!r} on line {first_line}: {number!r} would be "
            f"{meant} in the order of {hub}, and {other!r} is none of its numbers; the file's labels are in one of two "
            f"orders, so write {self._known()}"
        )

    def _known(self) -> str:
        codes = self.task.label_codes
        return f"the names {shown(', '.join(self.task.labels))}" + (
            f", or the codes {shown(', '.join(codes))}" if codes else ""
        )


def check_names(task: Task, path: Path, names: Sequence[str]) -> None:
    """Raises UserError if a file names its labels, and none of them is one of the task's."""
    if names and not task.is_regression and all(read_id(task, name) is None for name in names):
        codes = f" (codes {shown(', '.join(task.label_codes))})" if task.label_codes else ""
        raise UserError(
            f"{path} names its labels {shown(', '.join(names))}, and {task.name} has {shown(', '.join(task.labels))}"
            f"{codes}; rename them in the file, for its numbers need not be in the task's order"
        )

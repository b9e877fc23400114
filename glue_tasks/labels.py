"""Label names, the codes of the files and the outputs of a model, brought together in one place.

A label goes by its name ("not_entailment"), by the code that the files write for it ("1") and, in a model, by the
position of its output, which the model's `id2label` and `label2id` may name. Names are compared without case and
without what parts their words: "NOT ENTAILMENT" and "Not-Entailment" are "not_entailment". All other punctuation
counts: "A-" is not "A", nor "C#" "C". Of codes and other texts without a letter only whole numbers have a second form:
"1.0" is "1"; "-1" is not. Accents may be part of a letter or stand after it (NFC and NFD, which macOS writes).

A file may also hold the numbers of the hub's ClassLabel, as `to_json` and `to_csv` of `datasets` write them. A task's
labels are in that order.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError, warn_once
from glue_tasks.lines import Fault, shown
from glue_tasks.task import Task

# What a model that was fine-tuned without label names calls its outputs.
_NO_NAME = re.compile(r"(label[ _-]?)?\d+", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}\.0*")  # "1.0": what a table with a missing value makes of 1
_NUMBERS = tuple(map(str, range(1000)))  # more labels than any task has
_DIGITS, _WORDS = ("0", "1"), ("false", "true")  # of a column of 0 and 1 a table makes truth, as JSON of a condition
# Beside a digit they may mean something: "1-2 stars" is not "12 stars".
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[ -]+(?=[^\W\d_])")


def composed(text: str) -> str:
    """The text with each accent a part of its letter (NFC), whatever a system made of it."""
    return unicodedata.normalize("NFC", text)


def plain(label: str) -> str:
    """A name without case, and its words in one; a text without a letter as it stands, whole numbers without ".0"."""
    label = composed(label)
    if any(character.isalpha() for character in label):
        return composed(_BETWEEN_LETTERS.sub("", " ".join(label.casefold().replace("_", " ").split())))
    label = label.strip()
    return str(int(label.partition(".")[0])) if _WHOLE.fullmatch(label) else label


# The id of a label, those of several in their order, or the value of a regression.
Label = int | float | tuple[int, ...]


def split_labels(task: Task, written: str) -> list[str]:
    """The labels that a cell of a multi-label task holds, without spaces around them; none in an empty cell."""
    return [label for part in written.split(task.label_separator) if (label := part.strip())]


def read_label(task: Task, written: str) -> Label | None:
    """The label that a cell of a file holds; None if it is none, or, in a multi-label task, one of them is none.

    The value of a regression is a finite number; Python's own 1_000 is none.
    """
    if task.is_regression:
        try:
            value = float(written)
        except ValueError:
            return None
        return value if abs(value) < float("inf") and "_" not in written else None
    if not task.is_multi_label:
        return read_id(task, written)
    ids = {read_id(task, label) for label in split_labels(task, written)}
    return None if None in ids else tuple(sorted(each for each in ids if each is not None))


def read_id(task: Task, written: str) -> int | None:
    """The id of one label in a file, by its name, its code or the hub's number."""
    label = label_id(task, written)
    return number_of_hub(task, written) if label is None else label


def number_of_hub(task: Task, written: str) -> int | None:
    """The id that a number of the hub's ClassLabel stands for, or None if it is none.

    None, too, for all numbers of a task some of whose codes or names are numbers of the hub's for other labels.
    """
    number, numbers = plain(written), _NUMBERS[: task.num_labels]
    known = _by_plain(task.label_codes, task.labels, task.hub is not None)
    is_other = any(known.get(each, {at}) != {at} for at, each in enumerate(numbers))
    return int(number) if task.hub and number in numbers and number not in known and not is_other else None


def is_no_label(task: Task, written: str) -> bool:
    """Whether a cell says that the row has no label: empty, or the -1 of the hub's test splits.

    In a regression, and where it is the name or code of a label, -1 says so only if the whole file has it.
    """
    return not written.strip() or (plain(written) == "-1" and (task.is_regression or label_id(task, written) is None))


def is_unscored(task: Task, written: str) -> bool:
    """Whether a cell says that the benchmark does not score the row."""
    return composed(written.strip()) in map(composed, task.unscored_labels)


def label_id(task: Task, written: str) -> int | None:
    """The id of the label that a file or a model writes so, or None if the task has no such label.

    What agrees to the letter comes first, codes before names, so that tasks whose names differ in case alone ("Polish",
    "polish") are read all the same; then what agrees in `plain`, if that is one label; then true and false for a task
    of two labels that knows them as 1 and 0, or the other way round, unless the hub numbers them in another order.
    """
    exact = _exact(task, written)
    found = (
        _by_plain(task.label_codes, task.labels, task.hub is not None).get(plain(written), set())
        if exact is None
        else {exact}
    )
    return next(iter(found)) if len(found) == 1 else None


def _exact(task: Task, written: str) -> int | None:
    """The label of that code or name to the letter, accents aside."""
    written = composed(written.strip())
    by_name = (known.index(written) for known in map(_composed, (task.label_codes, task.labels)) if written in known)
    return next(by_name, None)


@functools.cache
def _composed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(composed, names))


@functools.cache  # a file may ask for every row
def _by_plain(codes: tuple[str, ...], names: tuple[str, ...], is_of_hub: bool) -> dict[str, set[int]]:
    """Plain name or code -> the labels that go by it; true and false too where they are known as 1 and 0."""
    found: dict[str, set[int]] = {}
    for known in (codes, names):
        for label, name in enumerate(known):
            found.setdefault(plain(name), set()).add(label)
    # Of a longer list of labels, 1 may be the second of many: not "true". CLUEWSC2020's 1 is the hub's "false".
    pairs = {_DIGITS: _WORDS} if is_of_hub else {_DIGITS: _WORDS, _WORDS: _DIGITS}
    for there, others in pairs.items() if len(names) == 2 else ():
        if found.keys() >= {*there}:
            for name, other in zip(there, others, strict=True):
                found.setdefault(other, found[name])
    return found


def output_names(id2label: Mapping[int, str], label2id: Mapping[str, Any] | None, model: str) -> tuple[str, ...]:
    """What a model calls its outputs, in their order, by whichever of the two has names and not LABEL_0 and the like.

    Raises UserError if both have names and disagree.
    """
    ours = tuple(str(id2label[position]) for position in sorted(id2label))
    by_position = {str(position): str(name) for name, position in (label2id or {}).items()}
    theirs = tuple(by_position.get(str(position), "") for position in range(len(ours)))
    if "" in theirs or len(label2id or {}) != len(ours):  # left over from a head of another size
        theirs = ()
    named = [names for names in (ours, theirs) if not are_numbers(names)]
    if len(named) == 2 and list(map(plain, ours)) != list(map(plain, theirs)):
        raise UserError(
            f"the model {model} names its labels in two ways: id2label has {', '.join(ours)}, label2id has "
            f"{', '.join(theirs)}; make them agree in its config.json"
        )
    return named[0] if named else ours


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the names are LABEL_0 and the like or bare numbers, which say nothing unless the task uses them."""
    return all(_NO_NAME.fullmatch(name) for name in names)


def output_order(task: Task, names: Sequence[str]) -> tuple[int, ...] | None:
    """For each label of the task the position of its output in a model that names its outputs so.

    None if they are not the task's labels, by name or by code, each once. Bare numbers may be mere positions: they
    count only if they are the task's own to the letter.
    """
    known = _exact if are_numbers(names) else label_id
    ids = [known(task, name) for name in names]
    if Counter(ids) != Counter(range(task.num_labels)):
        return None
    return tuple(ids.index(label) for label in range(task.num_labels))


def written_labels(task: Task) -> tuple[str, ...]:
    """What predictions say for each label, in the order of their ids: for a benchmark's server what its files have."""
    return (task.label_codes if task.submission else ()) or task.labels


class FileLabels:
    """Reads the labels of a file, each distinct one once: names and codes of the task, or the hub's numbers, of which a
    warning says what they are read as; never some of both."""

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
        if not self.task.is_regression:
            return self._id(line, written)
        value = read_label(self.task, written)
        if value is None:
            raise Fault(f"{self._where(written)} is not a number")
        return value

    def _id(self, line: int, written: str) -> int:
        if (known := self._ids.get(written)) is not None:
            return known
        task = self.task
        # A line break in a label is what a quotation mark too many swallowed.
        label = None if "\n" in written else read_id(task, written)
        is_digits = plain(written).isdigit()
        if label is not None or (self._numbered and is_digits):
            self._check_order(line, written)
        if label is None:
            cure = f"{task.name} has {', '.join(task.label_codes or task.labels)}"
            if task.hub is None and not task.label_codes and is_digits:
                cure += "; if the file numbers them, say how in label_codes of the task"
            raise Fault(f"unknown label {self._where(written)}", cure)
        self._ids[written] = label
        return label

    def _where(self, written: str) -> str:
        return f"{shown(written)!r} in column {self.task.label_column.removeprefix('column ')}"

    def _check_order(self, line: int, written: str) -> None:
        """Raises UserError unless this label and the file's first are both numbers of the hub's, or neither."""
        task, hub = self.task, self.task.hub.repository if self.task.hub else ""
        is_number = number_of_hub(task, written) is not None
        codes = f", or the codes {shown(', '.join(task.label_codes))}" if task.label_codes else ""
        cure = f"write the names {shown(', '.join(task.labels))}{codes}"
        if self._first is None:
            self._first, self._numbered = (line, written), is_number
            if is_number:
                order = ", ".join(f"{number} {label}" for number, label in enumerate(task.labels))
                warn_once(
                    f"{self.path}: the labels are numbers, and are read in the order of {hub}: {shown(order, 400)}; if "
                    f"they mean something else, {cure}"
                )
        elif is_number != self._numbered:
            first_line, first = self._first
            number, other = (first, written) if self._numbered else (written, first)
            raise UserError(
                f"{self.path}, line {line}: the label {written!r}, and {first!r} on line {first_line}: {number!r} "
                f"would be {task.labels[number_of_hub(task, number) or 0]} in the order of {hub}, and {other!r} is "
                f"none of its numbers; the file's labels are in one of two orders, so {cure}"
            )


def check_names(task: Task, path: Path, names: Sequence[str]) -> None:
    """Raises UserError if a file names its labels, and none of them is one of the task's."""
    if names and not task.is_regression and all(read_id(task, name) is None for name in names):
        codes = f" (codes {shown(', '.join(task.label_codes))})" if task.label_codes else ""
        raise UserError(
            f"{path} names its labels {shown(', '.join(names))}, and {task.name} has {shown(', '.join(task.labels))}"
            f"{codes}; rename them in the file, for its numbers need not be in the task's order"
        )

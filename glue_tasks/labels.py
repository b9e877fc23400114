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
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.task import Task

# What a model that was fine-tuned without label names calls its outputs.
_NO_NAME = re.compile(r"(label[ _-]?)?\d+", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}\.0*")  # "1.0": what a table with a missing value makes of 1
_NUMBERS = tuple(map(str, range(1000)))  # more labels than any task has
_TRUTH = {"true": "1", "false": "0"}  # what a table makes of a column of 0 and 1, or JSON of a condition
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
    """The label that a cell of a file holds; None if it is none, or, in a multi-label task, one of them is none."""
    if task.is_regression:
        return _value(written)
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
    known = _by_plain(task.label_codes, task.labels)
    if (
        task.hub is None
        or number not in numbers
        or any(known.get(each, {at}) != {at} for at, each in enumerate(numbers))
    ):
        return None
    return int(number) if number not in known else None


def is_no_label(task: Task, written: str) -> bool:
    """Whether a cell says that the row has no label: empty, or the -1 of the hub's test splits.

    In a regression, and where it is the name or code of a label, -1 says so only if the whole file has it.
    """
    return not written.strip() or (plain(written) == "-1" and (task.is_regression or label_id(task, written) is None))


def is_unscored(task: Task, written: str) -> bool:
    """Whether a cell says that the benchmark does not score the row."""
    return composed(written.strip()) in map(composed, task.unscored_labels)


def _value(written: str) -> float | None:
    """A finite number, or None. Python's own 1_000 is none."""
    try:
        value = float(written)
    except ValueError:
        return None
    return value if abs(value) < float("inf") and "_" not in written else None


def label_id(task: Task, written: str) -> int | None:
    """The id of the label that a file or a model writes so, or None if the task has no such label.

    What agrees to the letter comes first, codes before names, so that tasks whose names differ in case alone ("Polish",
    "polish") are read all the same; then what agrees in `plain`, if that is one label; then true and false for a task
    of two labels that knows them as 1 and 0, or the other way round, unless the hub numbers them in another order.
    """
    if (exact := _exact(task, composed(written.strip()))) is not None:
        return exact
    by_plain = _by_plain(task.label_codes, task.labels)
    wanted = plain(written)
    other = _TRUTH.get(wanted) or next((word for word, digit in _TRUTH.items() if digit == wanted), "")
    # Of a longer list of labels, 1 may be the second of many: not "true".
    if wanted not in by_plain and other and task.num_labels == 2:
        pair = _TRUTH.keys() if other in _TRUTH else set(_TRUTH.values())
        # CLUEWSC2020's 1 is the hub's number of "false".
        is_of_hub = task.hub is not None and wanted in _NUMBERS
        wanted = other if pair <= by_plain.keys() and not is_of_hub else wanted
    found = by_plain.get(wanted, frozenset())
    return next(iter(found)) if len(found) == 1 else None


def _exact(task: Task, written: str) -> int | None:
    for known in (_composed(task.label_codes), _composed(task.labels)):
        if written in known:
            return known.index(written)
    return None


@functools.cache
def _composed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(composed, names))


@functools.cache  # a file may ask for every row
def _by_plain(*lists: tuple[str, ...]) -> dict[str, frozenset[int]]:
    """Plain name or code -> the labels that go by it."""
    found: dict[str, set[int]] = {}
    for known in lists:
        for label, name in enumerate(known):
            found.setdefault(plain(name), set()).add(label)
    return {name: frozenset(ids) for name, ids in found.items()}


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

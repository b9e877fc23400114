"""Label names, the codes of the files and the outputs of a model, brought together in one place.

A label goes by its name ("not_entailment"), by the code that the files write for it ("1") and, in a model, by the
position of its output, which the model's `id2label` and `label2id` may name. Names are compared without case, spaces
and punctuation: "NOT ENTAILMENT" is "not_entailment". Codes and other texts without a letter are compared as they
stand: "-1" is not "1", and "1.0" is not "10".
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.task import Task

# What a model that was fine-tuned without label names calls its outputs.
_NO_NAME = re.compile(r"(label[ _-]?)?\d+", re.IGNORECASE)


def plain(label: str) -> str:
    """A name without case, spaces and punctuation; a text without a letter stays as it stands but for outer spaces."""
    if any(character.isalpha() for character in label):
        return "".join(character for character in label.casefold() if character.isalnum())
    return label.strip()


def label_id(task: Task, written: str) -> int | None:
    """The id of the label that a file or a model writes so, or None if the task has no such label.

    Codes come before names, and what agrees to the letter before what agrees in `plain`, so that tasks whose names
    differ in punctuation alone ("C", "C++") are read all the same.
    """
    for known in (task.label_codes, task.labels):
        if written in known:
            return known.index(written)
    wanted = plain(written)
    for known in (task.label_codes, task.labels):
        names = _all_plain(known)
        if names.count(wanted) == 1:
            return names.index(wanted)
    return None


@functools.cache  # a file may ask for every row
def _all_plain(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plain(label) for label in labels)


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
    if len(named) == 2 and _all_plain(ours) != _all_plain(theirs):
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

    None if they are not the task's labels, by name or by code, each once.
    """
    ids = [label_id(task, name) for name in names]
    if Counter(ids) != Counter(range(task.num_labels)):
        return None
    return tuple(ids.index(label) for label in range(task.num_labels))


def written_labels(task: Task) -> tuple[str, ...]:
    """What a benchmark's server expects for each label, in the order of their ids."""
    return (task.submission.labels if task.submission else ()) or task.labels

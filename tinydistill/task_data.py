"""The splits of a task, found, read and encoded."""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import warn_once
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.rows import Split
from glue_tasks.seals import check_file
from glue_tasks.task import Task
from tinydistill.data import count_cut, count_rows, left_out
from tinydistill.extra_tasks import extra_tasks, labels_agree, without_labels
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.kinds.kind import Collate, Lengths
from tinydistill.known_words import doubts_about_words
from tinydistill.options import Options


@dataclass
class Data:
    """A task's encoded splits: `train` and each dev split by name.

    What it trains on may have other parts, the train files of other tasks, by their names.
    """

    kind: TaskKind
    train_paths: dict[str, Path]  # by task
    train_parts: dict[str, Dataset]
    dev: dict[str, Dataset]
    collate: Collate
    left_out: dict[str, dict[str, int]]  # rows of each split, by the reason
    doubts: list[str]  # about text that the tokenizer does not know

    @functools.cached_property
    def train(self) -> Dataset:
        """All parts behind each other."""
        parts = list(self.train_parts.values())
        return parts[0] if len(parts) == 1 else concatenate_datasets(parts)

    @property
    def main_dev(self) -> Dataset:
        """The split that selects the checkpoint."""
        return self.dev[self.kind.task.dev_splits[0]]

    def describe(self) -> dict[str, Any]:
        """For the report: rows read, rows cut at the maximum length, and rows left out."""
        own, *others = self.train_parts
        splits = {"train": self.train_parts[own], **{_extra(name): self.train_parts[name] for name in others}}
        splits |= self.dev
        return {
            name: {"rows": count_rows(data), **_windows(data), "cut": count_cut(data), **self.left_out[name]}
            for name, data in splits.items()
        }


def _extra(task: str) -> str:
    return f"train of {task}"


def _windows(data: Dataset) -> dict[str, int]:
    """How many examples the rows are, where that is another number."""
    return {"windows": len(data)} if len(data) != count_rows(data) else {}


def load_data(kind: TaskKind, options: Options, tokenizer: PreTrainedTokenizerBase, needs_labels: bool = True) -> Data:
    """Encode the train and dev splits; the Arrow files lie in `<output-dir>/cache`.

    needs_labels: whether a train split without labels is refused; else it may have no column `labels`.
    """
    task = kind.task
    train_path = Path(options.train_file) if options.train_file else find_file(task, Path(options.data_dir), "train")
    cache = options.cache
    check_file(train_path, train_path.with_suffix(".json"))
    tables = {
        "train": open_table(task, train_path, "train", options.skip_bad_rows, needs_labels),
        **_open_dev(kind, options),
    }
    extra = _open_extra(task, options, needs_labels)
    doubts = [doubt for table in (*tables.values(), *extra.values()) for doubt in doubts_about_words(table, tokenizer)]
    lengths = Lengths(options.max_length, options.doc_stride)
    splits = {
        split: kind.encode(table, tokenizer, lengths, cache, for_training=split == "train")
        for split, table in tables.items()
    }
    parts = {task.name: splits["train"]}
    for name, table in extra.items():
        parts[name] = kind_of(table.task).encode(table, tokenizer, lengths, cache, for_training=True)
    out = {split: left_out(data) for split, data in splits.items()}
    return Data(
        kind,
        {task.name: train_path, **{name: table.path for name, table in extra.items()}},
        parts if needs_labels or not extra else {name: without_labels(data) for name, data in parts.items()},
        {split: splits[split] for split in task.dev_splits},
        kind.collate(tokenizer, options.max_length if options.padding == "max_length" else None),
        out | {_extra(name): left_out(parts[name]) for name in extra},
        doubts,
    )


def _open_extra(task: Task, options: Options, needs_labels: bool) -> dict[str, Split]:
    """The train files of other tasks, by their names. With `needs_labels` those alone whose gold labels are the task's
    too."""
    tables = {}
    for other in extra_tasks(task, options.extra_task):
        if needs_labels and not labels_agree(task, other):
            warn_once(f"the rows of {other.name} are left out where gold labels are learnt: {task.name} has others")
            continue
        path = find_file(other, Path(options.data_dir), "train")
        tables[other.name] = open_table(other, path, "train", options.skip_bad_rows, needs_labels)
    return tables


def load_dev(kind: TaskKind, options: Options, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """Encode the dev splits alone."""
    cache = options.cache
    tables = _open_dev(kind, options)
    for table in tables.values():
        doubts_about_words(table, tokenizer)
    lengths = Lengths(options.max_length, options.doc_stride)
    return {split: kind.encode(table, tokenizer, lengths, cache) for split, table in tables.items()}


def texts_of_rows(kind: TaskKind, options: Options, split: str, rows: Collection[int]) -> dict[int, tuple[str, ...]]:
    """The texts of some rows of a dev split, by their numbers in its encoded dataset, from 0."""
    table, wanted = _open_dev(kind, options)[split], set(rows)
    return {number: row.texts for number, row in enumerate(table) if number in wanted} if wanted else {}


def _open_dev(kind: TaskKind, options: Options) -> dict[str, Split]:
    folder, skip = Path(options.data_dir), options.skip_bad_rows
    task = kind.task
    return {split: open_table(task, find_file(task, folder, split), split, skip) for split in task.dev_splits}

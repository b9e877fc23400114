"""The splits of a task, found, read and encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.rows import Split
from glue_tasks.seals import check_file
from tinydistill.data import count_cut, count_rows, left_out
from tinydistill.kinds import TaskKind
from tinydistill.kinds.kind import Collate, Lengths
from tinydistill.known_words import doubts_about_words
from tinydistill.options import Options


@dataclass
class Data:
    """A task's encoded splits: `train` and each dev split by name."""

    kind: TaskKind
    train_path: Path
    train: Dataset
    dev: dict[str, Dataset]
    collate: Collate
    left_out: dict[str, dict[str, int]]  # rows of each split, by the reason
    doubts: list[str]  # about text that the tokenizer does not know

    @property
    def main_dev(self) -> Dataset:
        """The split that selects the checkpoint."""
        return self.dev[self.kind.task.dev_splits[0]]

    def describe(self) -> dict[str, Any]:
        """For the report: rows read, rows cut at the maximum length, and rows left out."""
        splits = {"train": self.train, **self.dev}
        return {
            name: {"rows": count_rows(data), **_windows(data), "cut": count_cut(data), **self.left_out[name]}
            for name, data in splits.items()
        }


def _windows(data: Dataset) -> dict[str, int]:
    """How many examples the rows are, where that is another number."""
    return {"windows": len(data)} if len(data) != count_rows(data) else {}


def load_data(kind: TaskKind, options: Options, tokenizer: PreTrainedTokenizerBase, needs_labels: bool = True) -> Data:
    """Encode the train and dev splits; the Arrow files lie in `<output-dir>/cache`.

    needs_labels: whether a train split without labels is refused; else it may have no column `labels`.
    """
    task = kind.task
    train_path = Path(options.train_file) if options.train_file else find_file(task, Path(options.data_dir), "train")
    cache = Path(options.output_dir) / "cache"
    check_file(train_path, train_path.with_suffix(".json"))
    tables = {
        "train": open_table(task, train_path, "train", options.skip_bad_rows, needs_labels),
        **_open_dev(kind, options),
    }
    doubts = [doubt for table in tables.values() for doubt in doubts_about_words(table, tokenizer)]
    lengths = Lengths(options.max_length, options.doc_stride)
    splits = {
        split: kind.encode(table, tokenizer, lengths, cache, for_training=split == "train")
        for split, table in tables.items()
    }
    return Data(
        kind,
        train_path,
        splits["train"],
        {split: splits[split] for split in task.dev_splits},
        kind.collate(tokenizer, options.max_length if options.padding == "max_length" else None),
        {split: left_out(data) for split, data in splits.items()},
        doubts,
    )


def load_dev(kind: TaskKind, options: Options, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """Encode the dev splits alone."""
    cache = Path(options.output_dir) / "cache"
    tables = _open_dev(kind, options)
    for table in tables.values():
        doubts_about_words(table, tokenizer)
    lengths = Lengths(options.max_length, options.doc_stride)
    return {split: kind.encode(table, tokenizer, lengths, cache) for split, table in tables.items()}


def _open_dev(kind: TaskKind, options: Options) -> dict[str, Split]:
    folder, skip = Path(options.data_dir), options.skip_bad_rows
    task = kind.task
    return {split: open_table(task, find_file(task, folder, split), split, skip) for split in task.dev_splits}

"""The splits of a task, found, read and encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.files import Table, open_table
from glue_tasks.places import find_file
from glue_tasks.seals import check_file
from glue_tasks.task import Task
from tinydistill.data import Collator, column, encode, left_out
from tinydistill.known_words import doubts_about_words
from tinydistill.settings import Settings


@dataclass
class Data:
    """A task's encoded splits: `train` and each dev split by name."""

    task: Task
    train_path: Path
    train: Dataset
    dev: dict[str, Dataset]
    collate: Collator
    left_out: dict[str, dict[str, int]]  # rows of each split, by the reason
    doubts: list[str]  # about text that the tokenizer does not know

    @property
    def main_dev(self) -> Dataset:
        """The split that selects the checkpoint."""
        return self.dev[self.task.dev_splits[0]]

    def describe(self) -> dict[str, Any]:
        """For the report: rows read, rows cut at the maximum length, and rows left out."""
        splits = {"train": self.train, **self.dev}
        return {
            name: {"rows": len(data), "cut": int(column(data, "cut").sum()), **self.left_out[name]}
            for name, data in splits.items()
        }


def load_data(task: Task, settings: Settings, tokenizer: PreTrainedTokenizerBase, needs_labels: bool = True) -> Data:
    """Encode the train and dev splits; the Arrow files lie in `<output-dir>/cache`.

    needs_labels: whether a train split without labels is refused; else it may have no column `labels`.
    """
    train_path = Path(settings.train_file) if settings.train_file else find_file(task, Path(settings.data_dir), "train")
    cache = Path(settings.output_dir) / "cache"
    check_file(train_path)
    tables = {
        "train": open_table(task, train_path, "train", settings.skip_bad_rows, needs_labels),
        **_open_dev(task, settings),
    }
    doubts = [doubt for table in tables.values() for doubt in doubts_about_words(table, tokenizer)]
    splits = {split: encode(table, tokenizer, settings.max_length, cache) for split, table in tables.items()}
    return Data(
        task,
        train_path,
        splits["train"],
        {split: splits[split] for split in task.dev_splits},
        Collator(tokenizer, settings.max_length if settings.padding == "max_length" else None),
        {split: left_out(data) for split, data in splits.items()},
        doubts,
    )


def load_dev(task: Task, settings: Settings, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """Encode the dev splits alone."""
    cache = Path(settings.output_dir) / "cache"
    tables = _open_dev(task, settings)
    for table in tables.values():
        doubts_about_words(table, tokenizer)
    return {split: encode(table, tokenizer, settings.max_length, cache) for split, table in tables.items()}


def _open_dev(task: Task, settings: Settings) -> dict[str, Table]:
    folder, skip = Path(settings.data_dir), settings.skip_bad_rows
    return {split: open_table(task, find_file(task, folder, split), split, skip) for split in task.dev_splits}

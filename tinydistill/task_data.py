"""The splits of a task, found, read and encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.seals import check_file
from glue_tasks.task import Task
from tinydistill.data import Collator, column, encode, left_out
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
    table = open_table(task, train_path, "train", settings.skip_bad_rows, needs_labels)
    train = encode(table, tokenizer, settings.max_length, cache)
    dev = load_dev(task, settings, tokenizer)
    return Data(
        task,
        train_path,
        train,
        dev,
        Collator(tokenizer, settings.max_length if settings.padding == "max_length" else None),
        {name: left_out(data) for name, data in {"train": train, **dev}.items()},
    )


def load_dev(task: Task, settings: Settings, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """Encode the dev splits alone."""
    cache = Path(settings.output_dir) / "cache"
    folder, skip = Path(settings.data_dir), settings.skip_bad_rows
    tables = {split: open_table(task, find_file(task, folder, split), split, skip) for split in task.dev_splits}
    return {split: encode(table, tokenizer, settings.max_length, cache) for split, table in tables.items()}

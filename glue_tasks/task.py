"""What a task is. A new task is one `Task(...)` of about ten lines in a table such as `glue.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TSV_SPLITS: Mapping[str, str] = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}


@dataclass(frozen=True)
class Task:
    """A labelled task: its files, columns, labels, metrics and the settings published for it.

    A classification task names its labels in the order of their ids; a regression task has none.
    """

    name: str  # also the folder's name below the data directory
    summary: str  # one line for `python -m glue_tasks list`
    text_columns: tuple[str, ...]  # one column, or two for a pair task
    label_column: str
    labels: tuple[str, ...]  # names, in the order of their ids; () means regression
    metrics: tuple[str, ...]  # names in metrics.METRICS; the first one selects the best checkpoint
    label_codes: tuple[str, ...] = ()  # what the files write for each label; () means the names themselves
    files: Mapping[str, str] = field(default_factory=lambda: TSV_SPLITS)  # split -> file name
    columns: tuple[str, ...] = ()  # the columns of the splits that have no header line
    headerless: tuple[str, ...] = ()  # the splits that have no header line
    has_torn_rows: bool = False  # as released, a line break inside a cell tore some rows; their parts are skipped
    language: str = "en"
    max_length: int = 128  # word pieces, [CLS] and [SEP] included
    teacher_epochs: int = 3
    intermediate_epochs: int = 20
    prediction_epochs: int = 3
    variants: int = 20  # N of the augmentation: variants drawn for each sentence
    homepage: str = "https://gluebenchmark.com/tasks"  # where a person gets the files

    @property
    def is_regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of a model's head: one for each label, or one for a regression."""
        return len(self.labels) or 1

    @property
    def main_metric(self) -> str:
        return self.metrics[0]

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The splits scored in a report, the one that selects the checkpoint first."""
        return tuple(split for split in self.files if split.startswith("dev"))

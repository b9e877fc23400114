"""What a task is. A new task is one `Task(...)` of about ten lines in a table such as `glue.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TSV_SPLITS: Mapping[str, str] = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
TXT_SPLITS: Mapping[str, str] = {"train": "train.txt", "dev": "dev.txt", "test": "test.txt"}
JSON_SPLITS: Mapping[str, str] = {"train": "train.json", "dev": "dev.json", "test": "test.json"}
HUB_SPLITS: Mapping[str, str] = {"train": "train", "dev": "validation", "test": "test"}

CONVERTED = "refs/convert/parquet"  # the branch that the hub makes of a repository which has a script of its own


def numbered_column(position: int) -> str:
    """What a column is called of which a task knows the position alone, from 1."""
    return f"column {position}"


def bio_tags(*types: str) -> tuple[str, ...]:
    """The labels of a task of tokens: the tags of BIO for these types of entities; B and I alone for a type ""."""
    return ("O", *(prefix + (f"-{each}" if each else "") for each in types for prefix in "BI"))


@dataclass(frozen=True)
class Hub:
    """Where the hub has a task, as Parquet: what `datasets.load_dataset(repository, config, split=...)` takes."""

    repository: str  # "nyu-mll/glue"
    config: str  # "sst2"
    rows: Mapping[str, int]  # published row counts by our split
    columns: Mapping[str, str] = field(default_factory=dict)  # ours -> the hub's, where they differ
    splits: Mapping[str, str] = field(default_factory=lambda: HUB_SPLITS)  # ours -> the hub's
    revision: str | None = None  # CONVERTED where the repository's main branch has no Parquet


@dataclass(frozen=True)
class Submission:
    """What the benchmark's server takes for a test split. `layout`: "glue" is a TSV of index and prediction with a
    header; "clue" is JSON lines of id and label. Labels are written as in the task's own files."""

    layout: str
    files: Mapping[str, str]  # split -> file name


@dataclass(frozen=True)
class Task:
    """A labelled task: its files, columns, labels, metrics and the settings published for it.

    A task of classification names its labels in the order of their ids, and a row has one of them, or, in a multi-label
    task, any number. A regression has a value instead. Of tokens each has a tag, and the labels are the tags of BIO, O
    the first. Of spans a row is a question about a context, and its answers are parts of that.
    """

    name: str  # also the folder's name below the data directory
    summary: str  # one line for `python -m glue_tasks list`
    text_columns: tuple[str, ...]  # one column, or two for a pair task
    label_column: str
    labels: tuple[str, ...]  # names, in the order of their ids; none in a regression
    metrics: tuple[str, ...]  # names in metrics.OF_KIND; the first one selects the best checkpoint
    # "regression" where there are no labels; or "multi-label", several of them a row; "tokens" or "spans".
    kind: str = "classification"
    span_score: str = "squad"  # whose rules score spans: "squad", "squad2" (a question may have no answer) or "cmrc"
    label_separator: str = ","  # between the labels of a row, in a multi-label task
    label_codes: tuple[str, ...] = ()  # what the files write for each label; () means the names themselves
    files: Mapping[str, str] = field(default_factory=lambda: TSV_SPLITS)  # split -> file name
    columns: tuple[str, ...] = ()  # the columns of the splits that have no header line
    headerless: tuple[str, ...] = ()  # the splits that have no header line
    has_torn_rows: bool = False  # as released, a line break inside a cell tore some rows; their parts are skipped
    # For each column other names that a header may give it; tried in their order where the first is not there.
    column_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: Mapping[str, str] = field(default_factory=dict)  # column -> what it says of this task's rows, if it is there
    unscored_labels: tuple[str, ...] = ()  # rows so labelled are left out: OCNLI's "-", on which annotators disagreed
    # Where a layout truly differs: a JSON record as published to one with the columns above.
    # Not in the repr: a function's is an address, another one in each run.
    from_record: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = field(default=None, repr=False)
    separator: str = ""  # between the cells of a text file; "" is by the file's name: tab for .tsv, comma for .csv
    folders: tuple[str, ...] = ()  # other names of the folder, as released; upper and lower case are one
    other_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # split -> other names of its file
    id_column: str = ""  # that of a test split's rows, for a submission; "" numbers them from 0
    hub: Hub | None = None
    submission: Submission | None = None
    language: str = "en"
    max_length: int = 128  # word pieces, [CLS] and [SEP] included
    teacher_epochs: int = 3
    intermediate_epochs: int = 20
    prediction_epochs: int = 3
    teacher_learning_rate: float = 2e-5
    intermediate_learning_rate: float = 5e-5
    prediction_learning_rate: float = 3e-5
    variants: int = 20  # N of the augmentation: variants drawn for each sentence
    homepage: str = "https://gluebenchmark.com/tasks"  # where a person gets the files

    def __post_init__(self) -> None:
        if self.kind in ("classification", "regression"):
            object.__setattr__(self, "kind", "classification" if self.labels else "regression")

    @property
    def is_regression(self) -> bool:
        return self.kind == "regression"

    @property
    def is_multi_label(self) -> bool:
        return self.kind == "multi-label"

    @property
    def may_lack_answer(self) -> bool:
        return self.kind == "spans" and self.span_score == "squad2"

    @property
    def entity_types(self) -> tuple[str, ...]:
        """The types of the entities of tokens, in the order of the labels; "" where tags have none."""
        return tuple(dict.fromkeys(label.partition("-")[2] for label in self.labels if label != "O"))

    @property
    def num_labels(self) -> int:
        """Outputs of a model's head: one for each label, one for a regression, of spans one for start and end each."""
        return 2 if self.kind == "spans" else len(self.labels) or 1

    @property
    def main_metric(self) -> str:
        return self.metrics[0]

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The splits scored in a report, the one that selects the checkpoint first."""
        return tuple(split for split in self.files if split.startswith("dev"))

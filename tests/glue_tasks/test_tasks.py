"""The tables of tasks against the figures of the paper, and finding a task by name."""

import dataclasses
from pathlib import Path

import pytest

from glue_tasks import TASKS, Task, UserError, get_task
from glue_tasks.files import open_table
from glue_tasks.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]

# task: metrics, maximum length, intermediate epochs (paper), N of the augmentation
PUBLISHED = {
    "CoLA": (("matthews",), 64, 50, 30),
    "SST-2": (("accuracy",), 64, 20, 20),
    "MRPC": (("accuracy", "f1"), 128, 20, 30),
    "STS-B": (("pearson", "spearman"), 128, 20, 30),
    "QQP": (("accuracy", "f1"), 128, 10, 10),
    "MNLI": (("accuracy",), 128, 10, 10),
    "QNLI": (("accuracy",), 128, 10, 20),
    "RTE": (("accuracy",), 128, 20, 30),
}

# task: label names in the order of their ids, as in the dataset `nyu-mll/glue`
LABELS = {
    "CoLA": ("unacceptable", "acceptable"),
    "SST-2": ("negative", "positive"),
    "MRPC": ("not_equivalent", "equivalent"),
    "STS-B": (),
    "QQP": ("not_duplicate", "duplicate"),
    "MNLI": ("entailment", "neutral", "contradiction"),
    "QNLI": ("entailment", "not_entailment"),
    "RTE": ("entailment", "not_entailment"),
    "WNLI": ("not_entailment", "entailment"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name: str) -> None:
    task = TASKS[name]
    assert (task.metrics, task.max_length, task.intermediate_epochs, task.variants) == PUBLISHED[name]
    assert (task.teacher_epochs, task.prediction_epochs) == (3, 3)


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_in_the_order_of_the_dataset(name: str) -> None:
    assert TASKS[name].labels == LABELS[name]
    assert TASKS[name].num_labels == max(1, len(LABELS[name]))
    assert TASKS[name].is_regression == (name == "STS-B")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_is_consistent(task: Task) -> None:
    assert TASKS[task.name] is task
    assert len(task.text_columns) in (1, 2)
    assert len(task.label_codes) in (0, len(task.labels))
    assert "dev" in task.files
    assert task.dev_splits[0] == "dev"
    assert set(task.metrics) <= set(METRICS)
    assert task.main_metric == task.metrics[0]
    assert set(task.headerless) <= set(task.files)
    assert not task.headerless or {*task.text_columns, task.label_column} <= set(task.columns)
    assert len(task.summary) < 100


def test_mnli_is_selected_on_matched_and_scored_on_both() -> None:
    assert TASKS["MNLI"].dev_splits == ("dev", "dev_mismatched")
    assert TASKS["MNLI"].files["dev"] == "dev_matched.tsv"


def test_a_task_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASKS["RTE"].max_length = 5  # type: ignore[misc]


@pytest.mark.parametrize("written", ["SST-2", "sst-2", "sst2", "SST_2", " Sst 2"])
def test_spelling_of_a_name_is_free(written: str) -> None:
    assert get_task(written) is TASKS["SST-2"]


@pytest.mark.parametrize(
    ("written", "offer"),
    [("SST", "did you mean SST-2"), ("mrcp", "did you mean MRPC"), ("mnli-mm", "did you mean MNLI")],
)
def test_an_unknown_name_is_offered_the_nearest(written: str, offer: str) -> None:
    with pytest.raises(UserError, match=offer):
        get_task(written)


@pytest.mark.parametrize("written", ["", "zzzzzz", "情感"])
def test_a_name_like_no_other_is_offered_all(written: str) -> None:
    with pytest.raises(UserError, match="the tasks are CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI"):
        get_task(written)


def test_the_documented_entry_works(tmp_path: Path) -> None:
    """The example of docs/adding_a_task.md, with the two lines of data that stand below it."""
    page = (ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
    names: dict[str, Task] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    task = names["TICKETS"]
    data = "".join(line.removeprefix("    ") + "\n" for line in page.splitlines() if "\t" in line)
    (tmp_path / "train.tsv").write_text(data, encoding="utf-8")
    (row,) = open_table(task, tmp_path / "train.tsv")
    assert (row.texts, row.label) == (('My invoice shows "0.00" twice.',), 0)

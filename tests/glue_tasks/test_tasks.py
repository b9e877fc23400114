"""The tables of tasks against the figures of the paper, and finding a task by name."""

import dataclasses
import json
from pathlib import Path

import pytest

from glue_tasks import TASKS, Task, UserError, get_task
from glue_tasks.clue import CLUE
from glue_tasks.files import open_table
from glue_tasks.glue import GLUE
from glue_tasks.places import find_file
from glue_tasks.task_file import check_task

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
    check_task(task)
    assert task.dev_splits[0] == "dev"
    assert task.main_metric == task.metrics[0]
    assert task.language in ("en", "zh")
    assert set(task.headerless) <= set(task.files)
    assert not task.headerless or task.columns
    assert not task.columns or {*task.text_columns, task.label_column} <= set(task.columns)
    assert task.homepage
    assert len(task.summary) < 100


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_is_on_the_hub_with_known_row_counts(task: Task) -> None:
    if task.name in ("demo", "Resume", "CLUENER"):
        assert task.hub is None
        return
    assert task.hub is not None
    # Of the diagnostic set the hub has no labels.
    expected = {"test"} if task.name == "AX" else set(task.files) - {"test1.0"}
    assert set(task.hub.splits) == set(task.hub.rows) == expected
    assert all(rows > 0 for rows in task.hub.rows.values())
    assert set(task.hub.columns) <= {*task.text_columns, task.label_column, task.id_column, "index"}


@pytest.mark.parametrize("task", [*GLUE.values(), *CLUE.values()], ids=lambda task: task.name)
def test_every_task_of_a_benchmark_can_be_submitted(task: Task) -> None:
    tests = {split for split in task.files if split.startswith("test")}
    assert task.submission is not None
    assert set(task.submission.files) == tests
    assert len(set(task.submission.files.values())) == len(tests)
    assert task.submission.layout == ("glue" if task.name in GLUE else "clue")
    assert task.id_column


# The names of clue/clue's ClassLabel, in their order: what its numbers mean.
LABELS_OF_CLUE = {
    "AFQMC": "0 1",
    "TNEWS": "100 101 102 103 104 106 107 108 109 110 112 113 114 115 116",
    "IFLYTEK": " ".join(map(str, range(119))),
    "OCNLI": "neutral entailment contradiction",
    "CMNLI": "neutral entailment contradiction",
    "CLUEWSC2020": "true false",
    "CSL": "0 1",
}


@pytest.mark.parametrize("name", LABELS_OF_CLUE)
def test_clues_labels_are_in_the_order_of_the_dataset(name: str) -> None:
    task = TASKS[name]
    assert task.hub is not None
    assert task.hub.repository == "clue/clue"
    assert (task.label_codes or task.labels) == tuple(LABELS_OF_CLUE[name].split())


def test_names_that_clues_readme_gives_for_codes_of_iflytek() -> None:
    names = dict(zip(TASKS["IFLYTEK"].label_codes, TASKS["IFLYTEK"].labels, strict=True))
    published = {0: "打车", 1: "地图导航", 2: "免费WIFI", 3: "租车", 11: "薅羊毛", 17: "休闲益智", 110: "社区超市"}
    published |= {115: "女性", 116: "经营", 117: "收款", 118: "其他"}
    assert {code: names[str(code)] for code in published} == published


@pytest.mark.realdata
def test_names_of_tnews_are_those_beside_its_files(shared: Path) -> None:
    written = (shared / "data" / "clue" / "tnews" / "labels.txt").read_text(encoding="utf-8").split()
    assert TASKS["TNEWS"].labels == tuple(written)
    with open(shared / "data" / "clue" / "tnews" / "train.json", encoding="utf-8") as file:
        pairs = {(row["label"], row["label_desc"]) for row in map(json.loads, file)}
    assert pairs == set(zip(TASKS["TNEWS"].label_codes, TASKS["TNEWS"].labels, strict=True))


def test_no_two_tasks_share_a_folder() -> None:
    folders = [folder.casefold() for task in TASKS.values() for folder in {task.name, *task.folders}]
    assert len(set(folders)) == len(folders)


# task: maximum length, epochs and rate of the teacher, as published for BERT-base (CLUE's README and scripts), or rate
# alone (MiniRBT's README: OCNLI, ChnSentiCorp, BQ)
TEACHERS = {
    "AFQMC": (128, 3, 2e-5),
    "TNEWS": (128, 3, 2e-5),
    "IFLYTEK": (128, 3, 2e-5),
    "CMNLI": (128, 2, 3e-5),
    "CLUEWSC2020": (128, 50, 2e-5),
    "CSL": (256, 5, 1e-5),
    "LCQMC": (128, 3, 2e-5),
    "XNLI-zh": (128, 2, 3e-5),
    "OCNLI": (None, None, 2e-5),
    "ChnSentiCorp": (None, None, 2e-5),
    "BQ": (128, 3, 3e-5),
}


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers_of_chinese_tasks_are_trained_as_published(name: str) -> None:
    task = TASKS[name]
    given = (task.max_length, task.teacher_epochs, task.teacher_learning_rate)
    assert all(published in (None, own) for own, published in zip(given, TEACHERS[name], strict=True))
    assert task.prediction_learning_rate == (5e-5 if name == "OCNLI" else 1e-4)  # MiniRBT: small students


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
    ("written", "name"),
    [("diagnostic", "AX"), ("tnews_public", "TNEWS"), ("xnli", "XNLI-zh"), ("wsc", "CLUEWSC2020"), ("bq", "BQ")],
)
def test_a_task_is_known_by_the_name_of_its_folder_too(written: str, name: str) -> None:
    assert get_task(written) is TASKS[name]


@pytest.mark.parametrize(
    ("written", "offer"),
    [
        ("clnli", "CMNLI"),
        ("iflytec", "did you mean IFLYTEK"),
        ("SST", "did you mean SST-2"),
        ("mrcp", "did you mean MRPC"),
        ("mnli-mm", "did you mean MNLI"),
    ],
)
def test_an_unknown_name_is_offered_the_nearest(written: str, offer: str) -> None:
    with pytest.raises(UserError, match=offer):
        get_task(written)


@pytest.mark.parametrize("written", ["", "zzzzzz", "情感"])
def test_a_name_like_no_other_is_offered_all(written: str) -> None:
    with pytest.raises(UserError, match="the tasks are CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI"):
        get_task(written)


def test_the_diagnostic_set_is_evaluated_on_and_not_trained(tmp_path: Path) -> None:
    task = TASKS["AX"]
    assert task.labels == TASKS["MNLI"].labels
    folder = tmp_path / "diagnostic"
    folder.mkdir()
    (folder / "diagnostic-full.tsv").write_text(
        "Lexical Semantics\tPredicate-Argument Structure\tLogic\tKnowledge\tDomain\tPremise\tHypothesis\tLabel\n"
        "\t\tNegation\t\tArtificial\tThe cat sat on the mat.\tThe cat did not sit on the mat.\tcontradiction\n"
    )
    (folder / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n0\tThe cat sat.\tIt did not.\n")
    (row,) = open_table(task, find_file(task, tmp_path, "dev"), "dev")
    assert row.texts == ("The cat sat on the mat.", "The cat did not sit on the mat.")
    assert row.label == task.labels.index("contradiction")
    (row,) = open_table(task, find_file(task, tmp_path, "test"), "test")
    assert (row.texts, row.label) == (("The cat sat.", "It did not."), None)
    with pytest.raises(UserError, match="AX has no split 'train'; models are evaluated on it, not trained"):
        find_file(task, tmp_path, "train")

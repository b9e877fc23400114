"""Numbers for labels, as `datasets` writes a ClassLabel: the hub's order in every task and format, or a sentence."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, Value

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table
from glue_tasks.labels import number_of_hub, read_label
from tests.glue_tasks.hub_repository import configuration, features_of

MNLI, SST2, RTE, TNEWS, CLUEWSC, STSB = (
    TASKS[name] for name in ("MNLI", "SST-2", "RTE", "TNEWS", "CLUEWSC2020", "STS-B")
)
OF_HUB = [task for task in TASKS.values() if task.hub and task.labels and task.kind != "tokens"]
IN_TABLES = [task for task in OF_HUB if task.from_record is None]  # a table cannot hold a record within a record
SPAN = {"span1_text": "a", "span1_index": 0, "span2_text": "b", "span2_index": 1}


def of_hub(task: Task) -> tuple[Dataset, list[str]]:
    """The task as the hub has it, a row for each label, and the name of each row's label."""
    assert task.hub
    features = features_of(configuration(task))
    label = task.hub.columns.get(task.label_column, task.label_column).lower()  # AX's is Label
    values: dict[str, Any] = {"target": SPAN, "keyword": ["a", "b"]}
    count = task.num_labels
    columns = {}
    for name, feature in features.items():
        text = "ab" if isinstance(feature, Value) and feature.dtype == "string" else 0
        columns[name] = list(range(count)) if name == label else [values.get(name, text)] * count
    feature = features[label]
    return Dataset.from_dict(columns, features=features), (
        feature.names if isinstance(feature, ClassLabel) else list(task.label_codes)
    )


def write(rows: Dataset, path: Path) -> None:
    """By `datasets`' own writers. A Parquet file with the numbers alone is what pandas and others make of it."""
    if path.suffix == ".csv":
        rows.to_csv(path)
    elif path.name == "array.json":
        rows.to_json(path, lines=False, orient="records", force_ascii=False)
    elif path.suffix in (".json", ".jsonl"):
        rows.to_json(path, force_ascii=False)
    elif path.name == "numbers.parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(rows.data.table.replace_schema_metadata(None), path)
    else:
        rows.to_parquet(path)


CASES = [(task, name) for name in ("train.json", "array.json", "numbers.parquet", "named.parquet") for task in OF_HUB]
CASES += [(task, "train.csv") for task in IN_TABLES]


@pytest.mark.parametrize(("task", "name"), CASES, ids=lambda part: getattr(part, "name", part))
def test_the_numbers_of_datasets_are_the_labels_of_the_hub(tmp_path: Path, task: Task, name: str) -> None:
    rows, names = of_hub(task)
    write(rows, tmp_path / name)
    read = [row.label for row in open_table(task, tmp_path / name)]
    assert [read_label(task, label) for label in names] == read == list(range(task.num_labels))


def test_numbers_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("text\tlabel\na\t1\nb\t0\n")
    with caplog.at_level(logging.WARNING):
        assert [row.label for row in open_table(CLUEWSC, path)] == [1, 0]
    assert "in the order of clue/clue: 0 true, 1 false; if they mean something else, write the names" in caplog.text
    assert SST2.hub  # its codes are the hub's numbers: nothing to tell
    assert number_of_hub(SST2, "1") is None
    path.write_text("text\tlabel\na\tTrue\nb\tFalse\n")
    assert [row.label for row in open_table(CLUEWSC, path)] == [0, 1]


@pytest.mark.parametrize("name", ["CLUEWSC2020", "CSL"])
def test_a_record_within_a_cell_is_refused(tmp_path: Path, name: str) -> None:
    """`to_csv` writes it as Python's text; read as it stands, spans would not be marked, nor keywords joined."""
    rows, _ = of_hub(TASKS[name])
    rows.to_csv(tmp_path / "train.csv")
    with pytest.raises(UserError, match="line 2: .* is a list or record written as text.*JSON lines"):
        open_table(TASKS[name], tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (
            TNEWS,
            ("100", "3"),
            "line 3: the label '3', and '100' on line 2: '3' would be news_sports in the order of clue",
        ),
        (
            TNEWS,
            ("3", "100"),
            "line 3: the label '100', and '3' on line 2: '3' would be news_sports in the order of clue",
        ),
        (
            TNEWS,
            ("3", "16"),
            "line 3: the label '16', and '3' on line 2: .* write the names news_story, .* or the codes",
        ),
        (TNEWS, ("3", "news_sports"), "line 3: the label 'news_sports', and '3'"),
        (
            CLUEWSC,
            ("true", "1"),
            "line 3: the label '1', and 'true' on line 2: '1' would be false in the order of clue",
        ),
    ],
)
@pytest.mark.parametrize("skip_bad_rows", [False, True])
def test_labels_of_two_orders_are_refused(
    tmp_path: Path, task: Task, labels: Sequence[str], message: str, skip_bad_rows: bool
) -> None:
    """Also with --skip-bad-rows: it is not some rows that are wrong, but what the numbers mean."""
    path = tmp_path / "train.tsv"
    (text,) = task.text_columns
    path.write_text(f"{text}\tlabel\n" + "".join(f"a\t{label}\n" for label in labels))
    with pytest.raises(UserError, match=message):
        list(open_table(task, path, skip_bad_rows=skip_bad_rows))


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_a_name_beside_a_number_tells_another_order(tmp_path: Path, name: str) -> None:
    """TNEWS' codes less 100 are numbers too, and most of them are the hub's for another label."""
    rows = {"sentence": ["a", "b", "c"], "label": [3, 5, 6], "label_desc": ["news_sports", "?", "news_house"]}
    write(Dataset.from_dict(rows), tmp_path / name)
    with pytest.raises(UserError, match="the label '6' is news_car, and label_desc says news_house; the labels"):
        list(open_table(TNEWS, tmp_path / name))
    rows["label_desc"][2] = "news_car"
    write(Dataset.from_dict(rows), tmp_path / name)
    assert [row.label for row in open_table(TNEWS, tmp_path / name)] == [3, 5, 6]


def test_a_number_that_the_tasks_own_codes_give_another_label_is_not_the_hubs() -> None:
    from dataclasses import replace

    assert number_of_hub(replace(TNEWS, label_codes=tuple(map(str, range(1, 16)))), "0") is None
    assert number_of_hub(replace(TNEWS, hub=None), "0") is None


def test_a_number_beyond_the_names_in_the_file_is_a_bad_row(tmp_path: Path) -> None:
    """It is not the code of a label, which the file's other numbers are not."""
    path = tmp_path / "train.parquet"
    Dataset.from_dict({"sentence": ["a", "b"], "label": [2, 100]}).to_parquet(path)
    table = datasets.Features({"sentence": Value("string"), "label": ClassLabel(names=list(TNEWS.labels[:3]))})
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).replace_schema_metadata(table.arrow_schema.metadata)
    pyarrow.parquet.write_table(rows, path)
    with pytest.raises(UserError, match="line 2: column label holds 100, and the file names 3 labels, from 0"):
        list(open_table(TNEWS, path))


def test_names_of_a_file_that_are_not_the_tasks_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"sentence": Value("string"), "label": ClassLabel(names=["good", "bad"])})
    Dataset.from_dict({"sentence": ["a"], "label": [0]}, features=features).to_parquet(tmp_path / "train.parquet")
    message = r"names its labels good, bad, and SST-2 has negative, positive \(codes 0, 1\); rename them in the file"
    for skip_bad_rows in (False, True):
        with pytest.raises(UserError, match=message):
            open_table(SST2, tmp_path / "train.parquet", skip_bad_rows=skip_bad_rows)


ACCENTED = Task("reviews", "", ("critique é",), "étiquette", ("négatif", "à voir"), ("accuracy",))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("task_form", ["NFC", "NFD"])
def test_accents_may_be_part_of_a_letter_or_stand_after_it(tmp_path: Path, form: str, task_form: str) -> None:
    """In labels, names of columns, labels that are not scored, and a ClassLabel's names."""
    from dataclasses import replace
    from unicodedata import normalize

    names = tuple(normalize(task_form, each) for each in ACCENTED.labels)
    task = replace(
        ACCENTED,
        text_columns=(normalize(task_form, "critique é"),),
        label_column=normalize(task_form, "étiquette"),
        labels=names,
        unscored_labels=(normalize(task_form, "à écarter"),),
    )
    path = tmp_path / "train.tsv"
    path.write_text(normalize(form, "étiquette\tcritique é\nnégatif\ta\nà écarter\tb\nÀ VOIR\tc\n"), encoding="utf-8")
    assert [row.label for row in open_table(task, path)] == [0, 1]
    written = [normalize(form, each) for each in ACCENTED.labels]
    features = datasets.Features({"critique é": Value("string"), "étiquette": ClassLabel(names=written[::-1])})
    rows = Dataset.from_dict({"critique é": ["a", "b"], "étiquette": [0, 1]}, features=features)
    rows.to_parquet(tmp_path / "train.parquet")
    assert [row.label for row in open_table(task, tmp_path / "train.parquet")] == [1, 0]

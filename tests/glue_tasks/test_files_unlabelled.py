"""Rows without a label and without a text: one rule in every format."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table

FORMATS = ("train.tsv", "train.csv", "train.jsonl", "train.parquet")
TABLES = [task for task in TASKS.values() if task.kind not in ("tokens", "spans")]  # which have readers of their own
SPAN = {"span1_text": "a", "span1_index": 0, "span2_text": "b", "span2_index": 1}


def write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A table or records; None is an empty cell, or null."""
    if path.suffix in (".tsv", ".csv"):
        separator = "," if path.suffix == ".csv" else "\t"
        lines = [separator.join("" if cell is None else str(cell) for cell in row) for row in (columns, *rows)]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(
            pyarrow.table({name: [row[at] for row in rows] for at, name in enumerate(columns)}), path
        )
    return path


def texts_of(task: Task, name: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The columns of a row without its label, and a row."""
    if name.endswith((".jsonl", ".parquet")) and task.name == "CLUEWSC2020":
        return ("text", "target"), ("ab", SPAN)
    if name.endswith((".jsonl", ".parquet")) and task.name == "CSL":
        return ("keyword", "abst"), (["a", "b"], "c")
    return task.text_columns, ("ab",) * len(task.text_columns)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("task", TABLES, ids=lambda task: task.name)
@pytest.mark.parametrize("label", ["no column", None, "", -1])
def test_a_file_without_labels_is_read_where_none_are_needed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, task: Task, name: str, label: Any
) -> None:
    columns, row = texts_of(task, name)
    if label == "no column":
        columns, row = ("id", *columns), (7, *row)  # a lone column is another case
    else:
        columns, row = (*columns, task.label_column), (*row, label)
    path = write(tmp_path / name, columns, [row] * 3)
    with pytest.raises(
        UserError, match=r"no column named|has no labels: .* is empty or -1 in every row|2 columns where"
    ):
        list(open_table(task, path))
    with caplog.at_level(logging.WARNING):
        table = open_table(task, path, needs_labels=False)
        rows = list(table)
    assert [row.label for row in rows] == [None] * 3
    assert table.label_position is None
    assert all(text for row in rows for text in row.texts)
    assert f"{path} is read without labels, which are not needed here" in caplog.text


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("needs_labels", [False, True])
def test_a_file_with_some_labels_has_to_have_all(tmp_path: Path, name: str, needs_labels: bool) -> None:
    columns = ("id", "sentence", "label")
    path = write(tmp_path / name, columns, [(0, "a", 1), (1, "b", 0)])
    assert [row.label for row in open_table(TASKS["SST-2"], path, needs_labels=needs_labels)] == [1, 0]
    path = write(tmp_path / name, columns, [(0, "a", None), (1, "b", 1)])
    with pytest.raises(UserError, match="unknown label '' in column label"):
        list(open_table(TASKS["SST-2"], path, needs_labels=needs_labels))


def test_minus_one_is_a_label_where_it_is_one(tmp_path: Path) -> None:
    task = replace(TASKS["SST-2"], label_codes=("-1", "1"))
    path = write(tmp_path / "train.tsv", ("sentence", "label"), [("a", -1), ("b", -1)])
    assert [row.label for row in open_table(task, path, needs_labels=False)] == [0, 0]
    path = write(tmp_path / "train.tsv", ("sentence1", "sentence2", "score"), [("a", "b", -1), ("a", "b", 2)])
    assert [row.label for row in open_table(TASKS["STS-B"], path, needs_labels=False)] == [-1.0, 2.0]


def test_a_test_file_as_a_training_file_without_labels(tmp_path: Path) -> None:
    """CoLA's train file has no header, its test file has one."""
    path = write(tmp_path / "test.tsv", ("index", "sentence"), [(0, "a"), (1, "b")])
    table = open_table(TASKS["CoLA"], path, "train", needs_labels=False)
    assert [(row.texts, row.label) for row in table] == [(("a",), None), (("b",), None)]
    path.write_text("gj04\t\t*\tHe is here.\n")
    (row,) = open_table(TASKS["CoLA"], path, "train", needs_labels=False)
    assert (row.texts, row.label) == (("He is here.",), None)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("empty", ["", None, "  "])
def test_a_row_without_a_text_is_told_counted_and_kept_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, empty: str | None
) -> None:
    columns = ("sentence1", "sentence2", "label")
    rows = [("a", "b", "entailment"), ("a", empty, "entailment"), (empty, "b", "not_entailment")]
    path = write(tmp_path / name, columns, rows)
    with caplog.at_level(logging.WARNING):
        table = open_table(TASKS["RTE"], path)
        kept = empty or ""
        assert [row.texts for row in table] == [("a", "b"), ("a", kept), (kept, "b")]
    line = 3 if name.endswith(("tsv", "csv")) else 2
    assert table.tally.empty == 2
    assert f"{path}: 2 of 3 rows have no text in a column that should hold one, line {line} the first" in caplog.text
    table = open_table(TASKS["RTE"], path, skip_bad_rows=True)
    with caplog.at_level(logging.WARNING):
        assert [row.texts for row in table] == [("a", "b")]
    assert table.tally.left_out() == {"skipped": 2, "unscored": 0, "torn": 0}
    assert f"skipped what cannot be read, 2 in all: line {line} (a row without a text)" in caplog.text

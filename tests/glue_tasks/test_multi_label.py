"""Tasks whose rows have any number of labels: how a cell is read, and what is told of one that cannot be."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from glue_tasks import Task, UserError
from glue_tasks.__main__ import app
from glue_tasks.files import open_table
from glue_tasks.labels import read_label
from glue_tasks.metrics import METRICS
from glue_tasks.task_file import choose_task, load_task

TOML = """
name = "Feelings"
kind = "multi-label"
text_columns = ["text"]
label_column = "feelings"
labels = ["joy", "anger", "great surprise"]
"""


def feelings(tmp_path: Path, more: str = "") -> Task:
    path = tmp_path / "feelings.toml"
    path.write_text(TOML + more, encoding="utf-8")
    return load_task(path)


def labels_of(task: Task, path: Path, split: str = "train", **options: Any) -> list[Any]:
    return [row.label for row in open_table(task, path, split, **options)]


def test_a_task_file_says_so_with_one_word(tmp_path: Path) -> None:
    task = feelings(tmp_path)
    assert (task.kind, task.is_multi_label, task.is_regression) == ("multi-label", True, False)
    assert (task.num_labels, task.metrics, task.label_separator) == (3, ("micro_f1", "macro_f1"), ",")


def test_the_kind_of_other_tasks_is_known_by_their_labels() -> None:
    task = Task("one", "", ("text",), "label", ("no", "yes"), ("accuracy",))
    assert task.kind == "classification"
    assert replace(task, labels=()).kind == "regression"
    assert replace(replace(task, labels=()), labels=("a", "b")).kind == "classification"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("joy", (0,)),
        ("great surprise,joy", (0, 2)),
        (" joy ,  Anger ", (0, 1)),
        ("joy,joy", (0,)),
        ("joy,", (0,)),
        ("", ()),
        (" ", ()),
        (" , ", ()),
        ("a,c", (0, 2)),  # codes
        ("a,great-surprise,joy", (0, 2)),
        ("joy,sorrow", None),
        ("joy;anger", None),
        ("joy anger", None),
    ],
)
def test_a_cell(tmp_path: Path, cell: str, expected: tuple[int, ...] | None) -> None:
    task = feelings(tmp_path, 'label_codes = ["a", "b", "c"]')
    assert read_label(task, cell) == expected
    path = tmp_path / "train.csv"
    path.write_text(f'text,feelings\none,"joy"\ntwo,"{cell}"\n')
    if expected is None:
        wrong = next(each for each in cell.split(",") if each.strip() != "joy")
        with pytest.raises(
            UserError, match=f"train.csv, line 3: unknown label '{wrong}' in column feelings; Feelings has"
        ):
            labels_of(task, path)
        assert labels_of(task, path, skip_bad_rows=True) == [(0,)]
    else:
        assert labels_of(task, path) == [(0,), expected]


@given(st.lists(st.sets(st.integers(0, 4)), min_size=1), st.sampled_from([",", ";", " ", "|", " and "]), st.data())
def test_any_sets_come_back(
    tmp_path_factory: pytest.TempPathFactory, sets: list[set[int]], separator: str, data: st.DataObject
) -> None:
    names = ("a", "b", "c", "d", "e")
    task = Task("any", "", ("text",), "label", names, ("micro_f1",), kind="multi-label", label_separator=separator)
    orders = [data.draw(st.permutations(sorted(each))) for each in sets]
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    rows = [f"text {i}\t{separator.join(names[label] for label in each)}\n" for i, each in enumerate(orders)]
    path.write_text("text\tlabel\n" + "".join(rows) + "last\ta\n")
    assert labels_of(task, path) == [*(tuple(sorted(each)) for each in sets), (0,)]


@pytest.mark.parametrize("name", ["train.json", "train.parquet"])
@pytest.mark.parametrize("codes", [False, True])
def test_lists_of_names_codes_or_numbers(tmp_path: Path, name: str, codes: bool) -> None:
    task = feelings(tmp_path, "label_codes = [0, 1, 2]" if codes else "")
    lists = [[2, 0], [], [1], [1, 1]]
    names = ["joy", "anger", "great surprise"]
    written: Any = lists if codes else [[names[label] for label in each] for each in lists]
    rows = [{"text": f"t{i}", "feelings": each} for i, each in enumerate(written)]
    path = tmp_path / name
    if path.suffix == ".json":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        Dataset.from_list(rows).to_parquet(path)
    assert labels_of(task, path) == [(0, 2), (), (1,), (1,)]
    table = open_table(task, path)
    assert [row.cells[table.label_position or 0] for row in table][1:3] == ["", "1" if codes else "anger"]


def test_numbers_that_a_parquet_file_names(tmp_path: Path) -> None:
    """In another order than the task's; a number beyond the names is a bad row."""
    task = feelings(tmp_path)
    features = Features(
        {"text": Value("string"), "feelings": ListOf(ClassLabel(names=["great surprise", "joy", "anger"]))}
    )
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "feelings": [[0, 1], [2], []]}, features=features)
    rows.to_parquet(tmp_path / "train.parquet")
    assert labels_of(task, tmp_path / "train.parquet") == [(0, 2), (1,), ()]


def test_numbers_that_nothing_names_are_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"text": "a", "feelings": [1]}\n')
    with pytest.raises(UserError, match="line 1: unknown label '1' .*say how in label_codes"):
        labels_of(feelings(tmp_path), path)


@pytest.mark.parametrize("content", ["text,feelings\na,joy\nb,\n", "text,feelings\na,\nb,\n", "text\na\nb\n"])
def test_the_labels_of_a_test_split_are_not_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "test.csv").write_text(content)
    assert labels_of(feelings(tmp_path), tmp_path / "test.csv", "test") == [None, None]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_file_of_another_split_whose_cells_are_all_empty_has_no_labels(tmp_path: Path, split: str) -> None:
    task, path = feelings(tmp_path), tmp_path / "rows.csv"
    path.write_text("text,feelings\na,\nb,\n")
    with pytest.raises(UserError, match="has no labels: feelings is empty or -1 in every row"):
        labels_of(task, path, split)
    assert labels_of(task, path, split, needs_labels=False) == [None, None]
    path.write_text("text,feelings\na,\nb,joy\n")
    assert labels_of(task, path, split) == [(), (0,)]


def test_a_first_row_is_no_header(tmp_path: Path) -> None:
    task = feelings(tmp_path, 'header = false\ncolumns = ["text", "feelings"]')
    (tmp_path / "train.tsv").write_text("a\tjoy,anger\nb\t\n")
    assert labels_of(task, tmp_path / "train.tsv") == [(0, 1), ()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TOML.replace('"multi-label"', '"multilabel"'), "has the kind 'multilabel'; there are .*mean 'multi-label'"),
        (TOML.replace('"multi-label"', "3"), "sets kind to 3; it is a text in quotes"),
        (TOML.replace('["joy", "anger", "great surprise"]', '"regression"'), "which do not go together"),
        (TOML.replace('"multi-label"', '"regression"'), "which do not go together"),
        (TOML.replace('["joy", "anger", "great surprise"]', '["joy"]'), "has one label"),
        (TOML.replace('"joy"', '"joy, fun"'), "has the label 'joy, fun', which holds the label_separator ','"),
        (TOML + 'label_separator = ""', "sets label_separator to ''; it is what stands between labels"),
        (TOML + 'label_separator = "\\t"', "sets label_separator to "),
        (TOML + 'metrics = ["accuracy"]', "scores a multi-label task by accuracy; there are micro_f1, macro_f1"),
        (
            TOML.replace('kind = "multi-label"', 'metrics = ["macro_f1"]'),
            "scores labels by macro_f1; there are accuracy",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(UserError, match=f"^the task file {tmp_path}/mine.toml .*{message}"):
        load_task(tmp_path / "mine.toml")


def test_a_regression_may_be_said_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML.replace("multi-label", "regression").split("labels = ")[0])
    assert load_task(tmp_path / "mine.toml").is_regression


def test_a_task_made_in_python_is_checked_too() -> None:
    task = Task("own", "", ("text",), "label", ("a", "b"), ("micro_f1",), kind="multi-labels")
    with pytest.raises(UserError, match="the task own has the kind 'multi-labels'.*did you mean 'multi-label'"):
        choose_task(task, None)


def test_show_counts_each_label(tmp_path: Path) -> None:
    feelings(tmp_path)
    (tmp_path / "Feelings").mkdir()
    (tmp_path / "Feelings" / "dev.csv").write_text('text,feelings\na,"joy,anger"\nb,joy\nc,\nd,anger\n')
    done = CliRunner().invoke(app, ["show", "--task-file", f"{tmp_path}/feelings.toml", "--data-dir", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert "sentence, any of 3 labels; scored by micro_f1, macro_f1\n" in done.stdout
    assert "balance  joy 2 (50.0%)   anger 2 (50.0%)   great surprise 0 (0.0%)   none 1 (25.0%)\n" in done.stdout
    assert "line 2, joy + anger\n" in done.stdout
    assert "line 4, none\n" in done.stdout


@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1))
def test_micro_and_macro_f1_are_the_plain_formulas(rows: list[tuple[bool, ...]]) -> None:
    import numpy as np

    predictions, references = np.array(rows)[:, :3].astype(int), np.array(rows)[:, 3:].astype(int)

    def f1(predicted: Any, expected: Any) -> float:
        both, either = int((predicted * expected).sum()), int(predicted.sum() + expected.sum())
        return 2 * both / either if either else 0.0

    assert METRICS["micro_f1"](predictions, references) == pytest.approx(f1(predictions, references))
    means = [f1(predictions[:, at], references[:, at]) for at in range(3)]
    assert METRICS["macro_f1"](predictions, references) == pytest.approx(sum(means) / 3)


@pytest.mark.parametrize("name", ["train.csv", "train.json"])
def test_what_augmentation_writes_has_the_label_cell_as_it_is(tmp_path: Path, name: str) -> None:
    task, path = feelings(tmp_path), tmp_path / name
    path.write_text(
        'text,feelings\na,"joy, anger"\n' if name == "train.csv" else '{"text": "a", "feelings": ["joy", "anger"]}\n'
    )
    (row,) = table = open_table(task, path)
    (row,) = table
    cells = table.replace_texts(row, ("b",))
    assert cells == ("b", "joy, anger" if name == "train.csv" else "joy,anger")
    (tmp_path / "train_aug.tsv").write_text(
        "\n".join(itertools.starmap("{}\t{}".format, [table.columns, cells])) + "\n"
    )
    assert labels_of(task, tmp_path / "train_aug.tsv") == [(0, 1)]

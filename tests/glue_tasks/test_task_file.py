"""A user's own task from a TOML file: what it says, and what is said of one that cannot be."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from glue_tasks import TASKS, Task, UserError
from glue_tasks.__main__ import app
from glue_tasks.digests import describe_reading
from glue_tasks.files import open_table
from glue_tasks.places import AUGMENTED, find_file
from glue_tasks.task_file import KEYS, choose_task, load_task

SMALL = """
name = "Mine"
text_columns = ["text"]
label_column = "label"
labels = ["no", "yes"]
"""


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return path


def load(tmp_path: Path, content: str) -> Task:
    return load_task(written(tmp_path, content))


def rows_of(tmp_path: Path, task: Task, file: str, content: str) -> list[tuple[Any, Any]]:
    folder = tmp_path / "data" / task.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(content, encoding="utf-8")
    return [(row.texts, row.label) for row in open_table(task, find_file(task, tmp_path / "data", "train"))]


def test_four_lines_suffice(tmp_path: Path) -> None:
    task = load(tmp_path, SMALL)
    assert task == Task(
        name="Mine",
        summary="a task of your own, from mine.toml",
        text_columns=("text",),
        label_column="label",
        labels=("no", "yes"),
        metrics=("accuracy",),
        homepage="",
    )


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    task = load(
        tmp_path,
        """
        name = "Pairs"
        summary = "are they alike?"
        language = "zh"
        text_columns = ["first", "second"]
        label_column = "alike"
        labels = ["no", "yes", "hard to say"]
        label_codes = [0, 1, 2]
        metrics = ["matthews", "accuracy"]
        header = false
        columns = ["id", "first", "second", "alike"]
        separator = "|"
        unscored_labels = ["-"]
        id_column = "id"
        folders = ["paare"]
        homepage = "the shared drive"
        max_length = 256
        teacher_epochs = 4
        intermediate_epochs = 5
        prediction_epochs = 6
        teacher_learning_rate = 1e-5
        intermediate_learning_rate = 2e-5
        prediction_learning_rate = 1
        variants = 7
        [files]
        train = "a.txt"
        dev = "b.txt"
        dev_new = "c.txt"
        test = "d.txt"
        [other_files]
        train = "aa.txt"
        [column_aliases]
        first = ["left", "a"]
        """,
    )
    assert task == Task(
        name="Pairs",
        summary="are they alike?",
        language="zh",
        text_columns=("first", "second"),
        label_column="alike",
        labels=("no", "yes", "hard to say"),
        label_codes=("0", "1", "2"),
        metrics=("matthews", "accuracy"),
        headerless=("train", "dev", "dev_new", "test"),
        columns=("id", "first", "second", "alike"),
        separator="|",
        unscored_labels=("-",),
        id_column="id",
        folders=("paare",),
        homepage="the shared drive",
        max_length=256,
        teacher_epochs=4,
        intermediate_epochs=5,
        prediction_epochs=6,
        teacher_learning_rate=1e-5,
        intermediate_learning_rate=2e-5,
        prediction_learning_rate=1.0,
        variants=7,
        files={"train": "a.txt", "dev": "b.txt", "dev_new": "c.txt", "test": "d.txt"},
        other_files={"train": ("aa.txt",)},
        column_aliases={"first": ("left", "a")},
    )
    assert task.dev_splits == ("dev", "dev_new")
    assert rows_of(tmp_path, task, "a.txt", "7|x|y|1\n8|z|w|hard to say\n") == [(("x", "y"), 1), (("z", "w"), 2)]


def test_the_keys_are_fields_of_a_task() -> None:
    fields = {field.name for field in dataclasses.fields(Task)}
    assert set(KEYS) - fields == {"header"}
    assert fields - set(KEYS) == {"headerless", "has_torn_rows", "only", "from_record", "hub", "submission"}


def test_a_regression(tmp_path: Path) -> None:
    task = load(tmp_path, SMALL.replace('["no", "yes"]', '"regression"'))
    assert task.is_regression
    assert task.metrics == ("pearson", "spearman")
    assert rows_of(tmp_path, task, "train.csv", "label,text\n2.5,so so\n-1,bad\n") == [
        (("so so",), 2.5),
        (("bad",), -1),
    ]


BY_NUMBER = SMALL.replace('["text"]', "[2]").replace('"label"', "1")


@pytest.mark.parametrize("content", ["yes,a\nno,b\n", 'yes,"a"\n"no",b\n'])
def test_columns_by_position_without_a_header(tmp_path: Path, content: str) -> None:
    task = load(tmp_path, "header = false" + BY_NUMBER)
    assert rows_of(tmp_path, task, "train.csv", content) == [(("a",), 1), (("b",), 0)]


def test_columns_by_position_below_a_header(tmp_path: Path) -> None:
    task = load(tmp_path, BY_NUMBER)
    rows = rows_of(tmp_path, task, "train.tsv", "antwort\tein langer name\tnoch etwas\nyes\ta\tx\nno\tb\ty\n")
    assert rows == [(("a",), 1), (("b",), 0)]
    table = open_table(task, tmp_path / "data" / "Mine" / "train.tsv")
    assert table.header == ("antwort", "ein langer name", "noch etwas")


def test_a_header_that_is_there_though_none_was_said_is_no_row(tmp_path: Path) -> None:
    task = load(tmp_path, "header = false" + BY_NUMBER)
    assert rows_of(tmp_path, task, "train.csv", "answer,body\nyes,a\n") == [(("a",), 1)]


def test_a_first_row_is_not_lost_as_a_header(tmp_path: Path) -> None:
    task = load(tmp_path, BY_NUMBER)
    with pytest.raises(UserError, match="line 1: 'yes' is a label, and no name of a column; write header = false"):
        rows_of(tmp_path, task, "train.csv", "yes,a\nno,b\n")


def test_positions_beyond_the_row(tmp_path: Path) -> None:
    task = load(tmp_path, "header = false" + BY_NUMBER.replace("[2]", "[5]"))
    with pytest.raises(UserError, match="train.csv, line 1: no column named 'column 5'"):
        rows_of(tmp_path, task, "train.csv", "yes,a\n")


def test_what_augmentation_writes_is_read_with_tabs_whatever_separates_the_tasks_own_cells(tmp_path: Path) -> None:
    task = load(tmp_path, 'separator = ";"' + SMALL)
    assert rows_of(tmp_path, task, "train.csv", 'text;label\n"a; b";yes\n') == [(("a; b",), 1)]
    path = tmp_path / "data" / "Mine" / AUGMENTED
    path.write_text("text\tlabel\na; b\tyes\n")
    assert [row.texts for row in open_table(task, path)] == [("a; b",)]


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@given(st.lists(names, min_size=2, max_size=5, unique_by=str.casefold), names, names)
def test_any_names_are_taken_as_they_are(labels: list[str], text: str, label: str) -> None:
    import tempfile

    if text == label:
        return
    with tempfile.TemporaryDirectory() as folder:
        quoted = ", ".join(f'"{each}"' for each in labels)
        task = load(
            Path(folder), f'name = "Mine"\ntext_columns = ["{text}"]\nlabel_column = "{label}"\nlabels = [{quoted}]\n'
        )
    assert (task.text_columns, task.label_column, task.labels) == ((text,), label, tuple(labels))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SMALL + 'lable_codes = ["0", "1"]', "sets 'lable_codes', which is no key; did you mean 'label_codes'?"),
        (SMALL + 'delimiter = ";"', "sets 'delimiter', which is no key; did you mean 'separator'?"),
        (SMALL + "zzz = 1", "sets 'zzz', which is no key$"),
        (SMALL.replace('label_column = "label"', ""), "does not say label_column; it needs name, text_columns, "),
        (SMALL.replace('["text"]', '"text"'), r"sets text_columns to 'text'; it is a list such as \[\"a\", \"b\"\]$"),
        (SMALL.replace('["text"]', '["a", "b", "c"]'), "has 3 text_columns; a task has one, or two for a pair"),
        (SMALL.replace('["text"]', "[]"), "has 0 text_columns"),
        (SMALL.replace('["text"]', "[0]"), "has the position 0 in text_columns; the first column is 1"),
        (SMALL.replace('["text"]', "[true]"), "has True in text_columns"),
        (SMALL.replace('["text"]', '["label"]'), "takes one column twice: label, label"),
        (SMALL.replace('["no", "yes"]', '"yes"'), r"sets labels to 'yes'; it is a list such as .*, or \"regression\""),
        (SMALL.replace('["no", "yes"]', '["yes"]'), r"has one label, 'yes'; name all of them, or write labels = \"reg"),
        (SMALL.replace('["no", "yes"]', "[]"), "has no labels"),
        (SMALL.replace('["no", "yes"]', "[0, 1]"), "has 0 in labels; each is a text in quotes"),
        (SMALL.replace('["no", "yes"]', '["no", "no"]'), "has 'no' twice in labels"),
        (SMALL.replace('["no", "yes"]', '["\u00e9", "e\u0301"]'), "has '\u00e9' twice in labels"),
        (SMALL + "label_codes = [0]", "has 1 label_codes for 2 labels"),
        (SMALL + 'label_codes = ["yes", "no"]', "has 'yes' both as the code of 'no' and as the name of another label"),
        (SMALL.replace('["no", "yes"]', '"regression"') + "label_codes = [0]", "has label_codes, and a regression has"),
        (SMALL + 'metrics = ["acuracy"]', "has the metric 'acuracy'; there are .*; did you mean 'accuracy'?"),
        (SMALL + 'metrics = ["pearson"]', "scores labels by pearson; there are accuracy, f1, matthews"),
        (
            SMALL.replace('["no", "yes"]', '"regression"') + 'metrics = ["f1"]',
            "scores a regression by f1; there are pea",
        ),
        (SMALL.replace('"yes"]', '"yes", "?"]') + 'metrics = ["f1"]', "scores 3 labels by f1, which is of two"),
        (SMALL + "metrics = []", "names no metrics"),
        (SMALL + "max_length = 0", "sets max_length to 0; it must be more than 0"),
        (SMALL + "max_length = 1.5", "sets max_length to 1.5; it is a whole number"),
        (SMALL + "variants = true", "sets variants to True; it is a whole number"),
        (SMALL + 'teacher_learning_rate = "5e-5"', "sets teacher_learning_rate to '5e-5'; it is a number such as 5e-5"),
        (SMALL + "teacher_learning_rate = nan", "sets teacher_learning_rate to nan; it must be more than 0"),
        (SMALL + 'header = "no"', "sets header to 'no'; it is true or false"),
        (SMALL + 'columns = ["text", "label"]', "names columns, which is for files without a header"),
        (SMALL + 'header = false\ncolumns = ["text"]', "has no column 'label' among its columns text"),
        (SMALL + "header = false", "names 'text' in files without a header; give its position, or name all columns"),
        (SMALL.replace('"yes"', '" yes"'), "has the label ' yes'; leave out the spaces around it"),
        (SMALL + 'unscored_labels = ["?", "no"]', "has 'no' both as a label and among its unscored_labels"),
        (SMALL + r'separator = "\n"', r"sets separator to '\\n'; it is what stands between cells, such as ';'"),
        (SMALL + """separator = '"'""", """sets separator to '"'; it is what stands between cells"""),
        (SMALL + '[column_aliases]\ntxt = "body"', "has column_aliases of 'txt'; .*; did you mean 'text'?"),
        (SMALL + '[other_files]\nvalid = "v.csv"', "has other_files of 'valid'; its splits are train, dev, test"),
        (SMALL + 'files = "train.csv"', r"sets files to 'train.csv'; it is a table \[files\]"),
        (SMALL + '[files]\ntrain = "train.csv"', "names no dev file"),
        (
            SMALL + '[files]\ndev = "d.csv"\nvalid = "v.csv"',
            "has a split 'valid' in files; there are train, dev and test",
        ),
        (SMALL + "[files]\ndev = 1", "sets files.dev to 1; it is a text in quotes"),
        (SMALL.replace('"Mine"', '"a/b"'), "has the name 'a/b'; it is that of a folder too"),
        (SMALL.replace('"Mine"', r'"a\nb"'), r"has the name 'a\\nb'; it is that of a folder too"),
        (SMALL.replace('"Mine"', '""'), "has '' in name; it takes texts that are not empty"),
        (SMALL.replace('"Mine"', '"sst-2"'), "has the name 'sst-2', which is that of a task that is there already"),
        (SMALL.replace('["text"]', "2") + "header = false", "sets text_columns to 2; it is a list such as"),
        (SMALL + "files = 3\nheader = false", r"sets files to 3; it is a table \[files\]"),
        (SMALL + 'kind = ["multi-label"]', "sets kind to \\['multi-label'\\]; it is a text in quotes"),
        (SMALL + "language = 2020-01-01", "sets language to datetime.date.*; it is a text in quotes"),
        (SMALL + "[other_files]\ntrain = [1]", "has 1 in other_files.train; each is a text in quotes"),
        (SMALL + '[files]\ndev = "d.csv"\ntesting = "t.csv"', "has a split 'testing' in files"),
        ("name: Mine", "is not TOML: "),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=f"^the task file {path} {message}") as error:
        load_task(path)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no task file .*none.toml; docs/adding_a_task.md shows one"):
        load_task(tmp_path / "none.toml")
    with pytest.raises(UserError, match="is a folder; give --task-file a TOML file"):
        load_task(tmp_path)
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_task(tmp_path / "mine.toml") == load(tmp_path, SMALL)
    (tmp_path / "mine.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(UserError, match="is not TOML"):
        load_task(tmp_path / "mine.toml")


def test_a_task_is_named_once(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    assert choose_task("sst2", None) is TASKS["SST-2"]
    assert choose_task(None, path).name == "Mine"
    with pytest.raises(UserError, match="the task SST-2 and the task file .*mine.toml are both named"):
        choose_task("SST-2", path)
    with pytest.raises(UserError, match="no task is named; .*--task-file"):
        choose_task(None, None)
    with pytest.raises(UserError, match="mine.toml is a task file; give it with --task-file"):
        choose_task("mine.toml", None)


def test_a_task_made_in_python_is_checked_too(tmp_path: Path) -> None:
    task = load(tmp_path, SMALL)
    assert choose_task(task, None) is task
    with pytest.raises(UserError, match="the task Mine has one label, 'yes'"):
        choose_task(dataclasses.replace(task, labels=("yes",)), None)


def test_what_tells_two_versions_of_a_task_apart(tmp_path: Path) -> None:
    assert describe_reading(TASKS["MRPC"]) == {}
    own = load(tmp_path, SMALL)
    assert describe_reading(own)["task_labels"] == ("no", "yes")
    assert describe_reading(own) != describe_reading(load(tmp_path, SMALL.replace('["no", "yes"]', '["yes", "no"]')))
    assert describe_reading(own) == describe_reading(load(tmp_path, SMALL + "variants = 3"))


def test_a_missing_file_is_told_without_a_place_to_get_it(tmp_path: Path) -> None:
    task = load(tmp_path, SMALL)
    (tmp_path / "data" / "Mine").mkdir(parents=True)
    folder = tmp_path / "data" / "Mine"
    with pytest.raises(UserError, match=f"there is no file {folder / 'dev.tsv'}; put train.tsv and .* into {folder}"):
        find_file(task, tmp_path / "data", "dev")


def test_show_takes_a_task_file(tmp_path: Path) -> None:
    path = written(tmp_path, "header = false" + BY_NUMBER)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "dev.csv").write_text("yes,a\nno,b c\nmaybe,d\nyes,e\n")
    args = ["show", "--task-file", str(path), "--data-dir", str(tmp_path / "data")]
    failed = CliRunner().invoke(app, args)
    assert failed.exit_code == 2
    assert "dev.csv, line 3: unknown label 'maybe'" in failed.stderr
    done = CliRunner().invoke(app, [*args, "--skip-bad-rows"])
    assert done.exit_code == 0, done.stderr
    assert "dev: 3 rows in" in done.stdout
    assert "a comma between cells; no header\n  text     column 2, by its position\n" in done.stdout
    assert "balance  no 1 (33.3%)   yes 2 (66.7%)" in done.stdout
    assert "dev.csv, 1 skipped\n" in done.stdout
    assert "  skipped  line 3 (unknown label 'maybe' in column 1)\n" in done.stdout
    path.write_text(SMALL.replace('["text"]', '["c"]'))
    (tmp_path / "data" / "mine" / "dev.csv").write_text("C,label\na,yes\n")
    named = CliRunner().invoke(app, args).stdout
    assert "  text     c is column 1, there called 'C'\n  label    label is column 2\n" in named
    both = CliRunner().invoke(app, ["show", "SST-2", *args[1:]])
    assert both.exit_code == 2
    assert "are both named" in both.stderr

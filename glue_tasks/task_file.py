"""A user's own task, from a TOML file: the fields of `Task` by their own names, checked before anything is read.

The file says what the columns and labels are called; docs/adding_a_task.md goes through one.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_tasks import TASKS, get_task
from glue_tasks.errors import UserError
from glue_tasks.labels import composed
from glue_tasks.metrics import METRICS, OF_TWO_LABELS, OF_VALUES
from glue_tasks.task import TSV_SPLITS, Task, numbered_column

# What a file may say: of these fields what their type tells, and `header`, which is no field.
_TEXT = ("name", "summary", "language", "label_column", "separator", "id_column", "homepage")
_TEXTS = ("text_columns", "labels", "label_codes", "metrics", "columns", "unscored_labels", "folders")
_NUMBERS = ("max_length", "teacher_epochs", "intermediate_epochs", "prediction_epochs", "variants")
_RATES = ("teacher_learning_rate", "intermediate_learning_rate", "prediction_learning_rate")
_TABLES = ("files", "other_files", "column_aliases")
KEYS = (*_TEXT, *_TEXTS, *_NUMBERS, *_RATES, *_TABLES, "header")
_NEEDED = ("name", "text_columns", "label_column", "labels")


def load_task(path: Path) -> Task:
    """The task that a TOML file describes.

    Raises UserError if the file is missing or no TOML, a key is unknown or missing, or a value cannot be.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # an editor may begin it with a byte-order mark
    except FileNotFoundError:
        raise UserError(f"there is no task file {path}; docs/adding_a_task.md shows one") from None
    except IsADirectoryError:
        raise UserError(f"the task file {path} is a folder; give --task-file a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the task file {path} is not TOML: {error}") from None
    try:
        return _task(given, path)
    except ValueError as error:
        raise UserError(f"the task file {path} {error}") from None


def choose_task(task: Task | str | None, path: Path | str | None) -> Task:
    """The task itself, that of the name, or that of the file.

    Raises UserError if both are given or neither, or a task made in Python cannot be.
    """
    if isinstance(task, Task):
        try:
            check_task(task)
        except ValueError as error:
            raise UserError(f"the task {task.name} {error}") from None
        return task
    if task and path:
        raise UserError(f"the task {task} and the task file {path} are both named; give one of them")
    if path:
        return load_task(Path(path))
    if not task:
        raise UserError(
            "no task is named; give the name of one (`python -m glue_tasks list` shows them), or --task-file with your "
            "own"
        )
    if task.endswith(".toml"):
        raise UserError(f"{task} is a task file; give it with --task-file")
    return get_task(task)


def check_task(task: Task) -> None:
    """Raises ValueError, in words that go on from the file's or the task's name, if its parts do not fit together."""
    if len(task.text_columns) not in (1, 2):
        raise ValueError(f"has {len(task.text_columns)} text_columns; a task has one, or two for a pair")
    named = (*task.text_columns, task.label_column)
    if len(set(named)) < len(named):
        raise ValueError(f"takes one column twice: {', '.join(named)}; name a column of its own for each")
    for name in ("labels", "label_codes", "metrics"):
        values = [composed(value) for value in getattr(task, name)]
        twice = {value for value in values if values.count(value) > 1}
        if twice:
            raise ValueError(f"has {sorted(twice)[0]!r} twice in {name}")
    if len(task.labels) == 1:
        raise ValueError(f'has one label, {task.labels[0]!r}; name all of them, or write labels = "regression"')
    if task.label_codes and len(task.label_codes) != len(task.labels):
        raise ValueError(
            f"has {len(task.label_codes)} label_codes for {len(task.labels)} labels; write one for each, in their order"
        )
    for at, code in enumerate(task.label_codes):
        if code in task.labels and task.labels.index(code) != at:
            raise ValueError(f"has {code!r} both as the code of {task.labels[at]!r} and as the name of another label")
    if "dev" not in task.files:
        raise ValueError("names no dev file; a dev split scores and selects the student")
    if not task.metrics:
        raise ValueError("names no metrics")
    for metric in task.metrics:
        if metric not in METRICS:
            raise ValueError(f"has the metric {metric!r}; there are {', '.join(METRICS)}{_near(metric, METRICS)}")
        if (metric in OF_VALUES) != task.is_regression:
            kind = "a regression" if task.is_regression else "labels"
            fitting = [known for known in METRICS if (known in OF_VALUES) == task.is_regression]
            raise ValueError(f"scores {kind} by {metric}; there are {', '.join(fitting)}")
        if metric in OF_TWO_LABELS and task.num_labels > 2:
            raise ValueError(f"scores {task.num_labels} labels by {metric}, which is of two; use accuracy or matthews")
    for label in (*task.labels, *task.label_codes):
        if label != label.strip():
            raise ValueError(f"has the label {label!r}; leave out the spaces around it, which do not count in files")
        if label in task.unscored_labels:
            raise ValueError(f"has {label!r} both as a label and among its unscored_labels")
    if set(task.separator) & set('"\r\n'):
        raise ValueError(f"sets separator to {task.separator!r}; it is what stands between cells, such as ';'")
    for name in task.column_aliases:
        if name not in (*named, task.id_column):
            raise ValueError(f"has column_aliases of {name!r}; its columns are {', '.join(named)}{_near(name, named)}")
    for split in task.other_files:
        if split not in task.files:
            raise ValueError(f"has other_files of {split!r}; its splits are {', '.join(task.files)}")
    missing = [name for name in named if name not in task.columns] if task.headerless and task.columns else []
    if missing:
        raise ValueError(f"has no column {missing[0]!r} among its columns {', '.join(task.columns)}")
    for name in (*_NUMBERS, *_RATES):
        if not 0 < getattr(task, name) < float("inf"):
            raise ValueError(f"sets {name} to {getattr(task, name)}; it must be more than 0")


def _task(given: Mapping[str, Any], path: Path) -> Task:
    for key in given:
        if key not in KEYS:
            raise ValueError(f"sets {key!r}, which is no key{_near(key, KEYS)}")
    for key in _NEEDED:
        if key not in given:
            raise ValueError(f"does not say {key}; it needs {', '.join(_NEEDED)}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in ("header", "labels", "text_columns", "label_column"):
            values[key] = _value(key, value)
    values["text_columns"] = _texts("text_columns", _columns("text_columns", given["text_columns"]))
    values["label_column"] = _text("label_column", _column("label_column", given["label_column"]))
    regression = given["labels"] == "regression"
    values["labels"] = () if regression else _texts("labels", given["labels"])
    if not regression and not values["labels"]:
        raise ValueError('has no labels; name them, or write labels = "regression"')
    if regression and values.get("label_codes"):
        raise ValueError("has label_codes, and a regression has none")
    header = given.get("header", True)
    if type(header) is not bool:
        raise ValueError(f"sets header to {header!r}; it is true or false")
    if not header:
        values["headerless"] = tuple(values.get("files", TSV_SPLITS))
        by_name = [each for each in (*given["text_columns"], given["label_column"]) if type(each) is str]
        if by_name and "columns" not in values:
            raise ValueError(f"names {by_name[0]!r} in files without a header; give its position, or name all columns")
    elif "columns" in values:
        raise ValueError("names columns, which is for files without a header; write header = false, or leave it out")
    _check_name(values["name"])
    defaults = {
        "metrics": ("pearson", "spearman") if regression else ("accuracy",),
        "summary": f"a task of your own, from {path.name}",
        "homepage": "",
    }
    task = Task(**{**defaults, **values})
    check_task(task)
    return task


def _check_name(name: str) -> None:
    if not name.isprintable() or name != name.strip() or set(name) & set('/\\:*?"<>|') or name.startswith("."):
        raise ValueError(f"has the name {name!r}; it is that of a folder too, such as Tickets")
    if any(name.casefold() == known.casefold() for known in TASKS):
        raise ValueError(f"has the name {name!r}, which is that of a task that is there already; choose another")


def _value(key: str, value: Any) -> Any:
    if key in _TEXT:
        return _text(key, value)
    if key in _TEXTS:
        return _texts(key, value)
    if key in _TABLES:
        return _table(key, value)
    if key in _RATES and type(value) in (int, float):
        return float(value)
    if key in _NUMBERS and type(value) is int:
        return value
    raise ValueError(f"sets {key} to {value!r}; it is {'a number such as 5e-5' if key in _RATES else 'a whole number'}")


def _text(key: str, value: Any) -> str:
    if type(value) is not str or (not value and key != "separator"):
        raise ValueError(f"sets {key} to {value!r}; it is a text in quotes")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts; one of whole numbers too for codes, which the files hold as text in any case."""
    if type(value) is not list:
        hint = ', or "regression"' if key == "labels" else ""
        raise ValueError(f"sets {key} to {value!r}; it is a list such as [{_EXAMPLES.get(key, '...')}]{hint}")
    if key == "label_codes":
        value = [str(each) if type(each) is int else each for each in value]
    for each in value:
        if type(each) is not str or not each:
            raise ValueError(f"has {each!r} in {key}; each is a text in quotes")
    return tuple(value)


def _table(key: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"sets {key} to {value!r}; it is a table [{key}]")
    if key == "files":
        table: dict[str, Any] = {name: _text(f"{key}.{name}", each) for name, each in value.items()}
        for split in table:
            if split not in ("train", "dev", "test") and not split.startswith(("dev_", "test_")):
                raise ValueError(
                    f"has a split {split!r} in files; there are train, dev and test, and such as dev_2 and test_2"
                )
        return table
    return {name: _texts(f"{key}.{name}", [each] if type(each) is str else each) for name, each in value.items()}


def _columns(key: str, value: Any) -> Any:
    return [_column(key, each) for each in value] if type(value) is list else value


def _column(key: str, value: Any) -> Any:
    """A column's name; a whole number is its position, from 1."""
    if type(value) is not int:
        return value
    if value < 1:
        raise ValueError(f"has the position {value} in {key}; the first column is 1")
    return numbered_column(value)


_EXAMPLES = {
    "text_columns": '"text"',
    "labels": '"negative", "positive"',
    "label_codes": '"0", "1"',
    "metrics": '"accuracy"',
    "columns": '"id", "text", "label"',
}

# What people write for a key, beside what is spelled like it.
_MEANT = {
    "text": "text_columns",
    "texts": "text_columns",
    "text_column": "text_columns",
    "label": "label_column",
    "target": "label_column",
    "codes": "label_codes",
    "metric": "metrics",
    "lang": "language",
    "sep": "separator",
    "delimiter": "separator",
    "epochs": "intermediate_epochs",
    "learning_rate": "prediction_learning_rate",
    "N": "variants",
    "train": "files",
    "dev": "files",
    "test": "files",
}


def _near(word: str, known: Any) -> str:
    meant = [_MEANT[word]] if _MEANT.get(word) in known else difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {meant[0]!r}?" if meant else ""

"""A user's own task, from a TOML file: the fields of `Task` by their own names, checked before anything is read.

The file says what the columns and labels are called; docs/adding_a_task.md goes through one. pydantic checks the types
of the fields, `check_task` whether they fit together.
"""

import dataclasses
import difflib
import itertools
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic

from glue_tasks import TASKS, get_task
from glue_tasks.errors import UserError
from glue_tasks.labels import composed
from glue_tasks.metrics import NAMES, OF_KIND, OF_TWO_LABELS
from glue_tasks.task import JSON_SPLITS, TSV_SPLITS, TXT_SPLITS, Task, bio_tags, numbered_column

# Of a task's fields those that a file cannot say; `header` it says in place of `headerless`.
_OF_PYTHON_ALONE = ("headerless", "has_torn_rows", "only", "from_record", "hub", "submission")
KEYS = (*(field.name for field in dataclasses.fields(Task) if field.name not in _OF_PYTHON_ALONE), "header")
_NEEDED = ("name", "text_columns", "label_column", "labels")


def _columns_of(task: Task) -> dict[str, Any]:
    """What a task calls its columns, as its file would say."""
    aliases = {name: [*others] for name, others in task.column_aliases.items()}
    return {"text_columns": [*task.text_columns], "label_column": task.label_column, "column_aliases": aliases}


# What a kind of task has where its file does not say otherwise: as the tasks of the tables.
_OF_KIND: dict[str, dict[str, Any]] = {
    "tokens": {**_columns_of(TASKS["MSRA"]), "files": dict(TXT_SPLITS)},
    "spans": {**_columns_of(TASKS["SQuAD1.1"]), "files": dict(JSON_SPLITS), "labels": [], "id_column": "id"},
}
_OF_TABLES = ("header", "columns", "separator", "label_separator", "unscored_labels")  # not of tokens and spans
_SPAN_SCORES = ("squad", "squad2", "cmrc")
_FIELDS: dict[str, Any] = {key: (kind, None) for key, kind in typing.get_type_hints(Task).items() if key in KEYS}
_STRICT = pydantic.ConfigDict(strict=True)  # "5e-5" is no number
_TaskFile: type[pydantic.BaseModel] = pydantic.create_model("_TaskFile", __config__=_STRICT, **_FIELDS)


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
    if fault := next(itertools.chain(_faults(task), _faults_of_labels(task), _faults_of_metrics(task)), ""):
        raise ValueError(fault)


_COLUMNS = {"tokens": (1,), "spans": (2,)}  # how many of texts; else one or two


def _faults(task: Task) -> Iterator[str]:
    number = len(task.text_columns)
    if number not in _COLUMNS.get(task.kind, (1, 2)):
        needed = {"tokens": "tokens have one", "spans": "spans have two, those of the question and the context"}
        yield f"has {number} text_columns; {needed.get(task.kind, 'a task has one, or two for a pair')}"
    named = (*task.text_columns, task.label_column)
    if len(set(named)) < len(named):
        yield f"takes one column twice: {', '.join(named)}; name a column of its own for each"
    for name in ("name", "label_column", "text_columns", "labels", "label_codes", "columns"):
        if getattr(task, name) == "" or "" in tuple(getattr(task, name)):
            yield f"has '' in {name}; it takes texts that are not empty"
    for name in ("labels", "label_codes", "metrics"):
        values = [composed(value) for value in getattr(task, name)]
        yield from (f"has {value!r} twice in {name}" for value in sorted(values) if values.count(value) > 1)
    if "dev" not in task.files:
        yield "names no dev file; a dev split scores and selects the student"
    for split in task.files:
        if not re.fullmatch(r"train|dev(_.*)?|test([_\d].*)?", split):
            yield f"has a split {split!r} in files; there are train, dev and test, and such as dev_2 and test_2"
    if set(task.separator) & set('"\r\n'):
        yield f"sets separator to {task.separator!r}; it is what stands between cells, such as ';'"
    for name in task.column_aliases:
        if name not in (*named, task.id_column):
            yield f"has column_aliases of {name!r}; its columns are {', '.join(named)}{_near(name, named)}"
    for split in task.other_files:
        if split not in task.files:
            yield f"has other_files of {split!r}; its splits are {', '.join(task.files)}"
    missing = [name for name in named if name not in task.columns] if task.headerless and task.columns else []
    if missing:
        yield f"has no column {missing[0]!r} among its columns {', '.join(task.columns)}"
    for field in dataclasses.fields(Task):
        if field.type in (int, float) and not 0 < getattr(task, field.name) < float("inf"):
            yield f"sets {field.name} to {getattr(task, field.name)}; it must be more than 0"


def _faults_of_labels(task: Task) -> Iterator[str]:
    codes, separator = task.label_codes, task.label_separator
    if task.kind not in OF_KIND:
        yield f"has the kind {task.kind!r}; there are {', '.join(OF_KIND)}{_near(task.kind, OF_KIND)}"
    if (task.is_multi_label or task.kind == "tokens") and not task.labels:
        yield "has no labels; name them"
    if task.kind == "tokens" and task.labels != bio_tags(*task.entity_types):
        tags = ", ".join(bio_tags(*task.entity_types))
        yield f"has the labels {', '.join(task.labels)}; of tokens they are O, and B and I of each type: {tags}"
    if task.kind == "spans" and task.labels:
        yield "has labels, and spans have none: what answers a question is part of the text"
    if task.span_score not in _SPAN_SCORES:
        near = _near(task.span_score, _SPAN_SCORES)
        yield f"sets span_score to {task.span_score!r}; there are {', '.join(_SPAN_SCORES)}{near}"
    if len(task.labels) == 1:
        yield f'has one label, {task.labels[0]!r}; name all of them, or write labels = "regression"'
    if codes and len(codes) != len(task.labels):
        yield f"has {len(codes)} label_codes for {len(task.labels)} labels; write one for each, in their order"
    for code, label in zip(codes, task.labels, strict=False):
        if code != label and code in task.labels:
            yield f"has {code!r} both as the code of {label!r} and as the name of another label"
    if not separator or set(separator) & set('"\t\r\n'):
        yield f"sets label_separator to {separator!r}; it is what stands between labels, such as ','"
    for label in (*task.labels, *codes):
        if label != label.strip():
            yield f"has the label {label!r}; leave out the spaces around it, which do not count in files"
        if label in task.unscored_labels:
            yield f"has {label!r} both as a label and among its unscored_labels"
        if task.is_multi_label and separator in label:
            yield f"has the label {label!r}, which holds the label_separator {separator!r}"


def _faults_of_metrics(task: Task) -> Iterator[str]:
    if not task.metrics:
        yield "names no metrics"
    for metric in task.metrics:
        if metric not in NAMES:
            yield f"has the metric {metric!r}; there are {', '.join(NAMES)}{_near(metric, NAMES)}"
        if metric not in OF_KIND[task.kind]:
            named = {"classification": "labels", "regression": "a regression", "multi-label": "a multi-label task"}
            scored = named.get(task.kind, task.kind)
            yield f"scores {scored} by {metric}; there are {', '.join(OF_KIND[task.kind])}"
        if metric in OF_TWO_LABELS and task.num_labels > 2:
            yield f"scores {task.num_labels} labels by {metric}, which is of two; use accuracy or matthews"


def _task(given: dict[str, Any], path: Path) -> Task:
    if given.get("kind") == "regression":
        given = {"labels": "regression", **given}
    of_kind = _OF_KIND.get(str(given.get("kind")), {})
    if fault := next(_faults_of_kind(given, bool(of_kind)), ""):
        raise ValueError(fault)
    if not {"text_columns", "label_column"}.isdisjoint(given):
        of_kind = {key: value for key, value in of_kind.items() if key != "column_aliases"}
    given = {**of_kind, **given}
    if fault := next(_faults_of_keys(given), ""):
        raise ValueError(fault)
    try:
        values = _TaskFile.model_validate(_as_fields(given)).model_dump(exclude_unset=True)
    except pydantic.ValidationError as error:
        raise ValueError(_sentence(error.errors()[0], given)) from None
    name = values["name"]
    if not name.isprintable() or name != name.strip() or set(name) & set('/\\:*?"<>|') or name.startswith("."):
        raise ValueError(f"has the name {name!r}; it is that of a folder too, such as Tickets")
    if any(name.casefold() == known.casefold() for known in TASKS):
        raise ValueError(f"has the name {name!r}, which is that of a task that is there already; choose another")
    kind = "regression" if given["labels"] == "regression" else values.get("kind", "classification")
    if kind == "tokens":
        values |= _with_tags(values["labels"], values.get("label_codes", ()))
    usual = {
        "summary": f"a task of your own, from {path.name}",
        "homepage": "",
        "metrics": ("accuracy",) if kind == "classification" else OF_KIND.get(kind, ()),
        "headerless": _headerless(given),
    }
    task = Task(**{**usual, **values})
    check_task(task)
    return task


def _faults_of_kind(given: Mapping[str, Any], is_of_rows: bool) -> Iterator[str]:
    """What the file says that goes with another kind of task."""
    kind = given.get("kind")
    if is_of_rows:
        yield from (f"sets {key}, which is for tables, and {kind} are in none" for key in _OF_TABLES if key in given)
    if kind != "spans" and "span_score" in given:
        yield 'sets span_score, which is for kind = "spans"'


def _with_tags(labels: tuple[str, ...], codes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The labels of a task of tokens, from the types of its entities or its tags in any scheme, and their codes.

    Raises ValueError if they are some of both, or have codes and are not the tags of BIO.
    """
    tags = [label for label in labels if re.fullmatch("[BI]|[BIMES]-.+", label)]
    types = [label for label in labels if label != "O" and label not in tags]
    if tags and types:
        raise ValueError(f"has {types[0]!r} among the tags in labels; name the types of entities alone, or all tags")
    named = bio_tags(*(types or dict.fromkeys(tag.partition("-")[2] for tag in tags)))
    if not codes:
        return {"labels": named}
    if {*labels} != {*named}:
        raise ValueError(f"has label_codes for {', '.join(labels)}; name the tags that they are of: {', '.join(named)}")
    if len(codes) != len(labels):
        return {"labels": named, "label_codes": codes}
    return {"labels": named, "label_codes": tuple(codes[labels.index(tag)] for tag in named)}


def _faults_of_keys(given: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"sets {key!r}, which is no key{_near(key, KEYS)}" for key in given if key not in KEYS)
    needed = ", ".join(_NEEDED)
    yield from (f"does not say {key}; it needs {needed}" for key in _NEEDED if key not in given)
    labels, is_regression = given["labels"], given["labels"] == "regression"
    if is_regression != (given.get("kind", labels) == "regression"):
        yield f"has the kind {given['kind']!r} and labels = {labels!r}, which do not go together"
    if labels == [] and given.get("kind") != "spans":
        yield 'has no labels; name them, or write labels = "regression"'
    if is_regression and given.get("label_codes"):
        yield "has label_codes, and a regression has none"


def _as_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says in other types than a task has: positions, numbers as codes, and one name for a list of it."""
    values = {key: value for key, value in given.items() if key != "header"}
    if values["labels"] == "regression":
        values["labels"] = []
    values["label_column"] = _column("label_column", values["label_column"])
    if isinstance(columns := values["text_columns"], list):
        values["text_columns"] = [_column("text_columns", each) for each in columns]
    if isinstance(codes := values.get("label_codes"), list):
        values["label_codes"] = [str(code) if type(code) is int else code for code in codes]
    for key in ("other_files", "column_aliases"):
        if isinstance(table := values.get(key), dict):
            values[key] = {name: [each] if isinstance(each, str) else each for name, each in table.items()}
    return _with_tuples(values)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _column(key: str, value: Any) -> Any:
    """A column's name; a whole number is its position, from 1."""
    if type(value) is not int:
        return value
    if value < 1:
        raise ValueError(f"has the position {value} in {key}; the first column is 1")
    return numbered_column(value)


def _headerless(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits without a header: all with `header = false`, else none."""
    header = given.get("header", True)
    if type(header) is not bool:
        raise ValueError(f"sets header to {header!r}; it is true or false")
    if header and "columns" in given:
        raise ValueError("names columns, which is for files without a header; write header = false, or leave it out")
    by_name = [each for each in (*given["text_columns"], given["label_column"]) if type(each) is str]
    if not header and by_name and "columns" not in given:
        raise ValueError(f"names {by_name[0]!r} in files without a header; give its position, or name all columns")
    return () if header else tuple(given.get("files", TSV_SPLITS))


# What pydantic expects, as a person would say it.
_EXPECTED = {
    "string_type": "a text in quotes",
    "tuple_type": 'a list such as ["a", "b"]',
    "int_type": "a whole number",
    "float_type": "a number such as 5e-5",
    "dict_type": "a table [{key}]",
}


def _sentence(error: Any, given: Mapping[str, Any]) -> str:
    """What is wrong with the type of a value, by pydantic's first error: `type`, `loc` and `input`."""
    key, *inner = error["loc"]
    expected = _EXPECTED.get(error["type"], error["msg"]).format(key=key)
    if inner and isinstance(inner[-1], int):
        return f"has {error['input']!r} in {'.'.join(map(str, (key, *inner[:-1])))}; each is {expected}"
    if not inner and key == "labels":
        expected += ', or "regression"'
    value = error["input"] if inner else given.get(key, error["input"])
    return f"sets {'.'.join(map(str, (key, *inner)))} to {value!r}; it is {expected}"


# What people write for a key, beside what is spelled like it.
_MEANT = {
    "text": "text_columns",
    "texts": "text_columns",
    "label": "label_column",
    "target": "label_column",
    "codes": "label_codes",
    "sep": "separator",
    "delimiter": "separator",
    "epochs": "intermediate_epochs",
    "learning_rate": "prediction_learning_rate",
    "N": "variants",
    "train": "files",
    "dev": "files",
    "test": "files",
    "multi_label": "kind",
}


def _near(word: str, known: Iterable[str]) -> str:
    names = list(known)
    meant = [_MEANT[word]] if _MEANT.get(word) in names else difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {meant[0]!r}?" if meant else ""

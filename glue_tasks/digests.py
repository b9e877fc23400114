"""What decides how a task's files are read: for the record of a run, and for the names of cached rows."""

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from glue_tasks import TASKS
from glue_tasks.task import Task

# Of a task what is neither read nor scored, beside how it is trained. `from_record` is compared by its source.
_UNREAD = ("name", "summary", "folders", "other_files", "from_record", "hub", "submission", "language", "homepage")
_TABLES = (
    "task",
    "glue",
    "clue",
    "chinese",
    "reading",
    "tagging",
    "demo",
)  # and the modules of this package that are so
_OF_TRAINING = ("max_length", "variants", "_epochs", "_rate")


def describe_reading(task: Task) -> dict[str, Any]:
    """How the files of a user's own task are read and scored, for the record of a run; {} for a task of the tables.

    Such a task may have changed by the time the run is resumed.
    """
    return {} if TASKS.get(task.name) == task else {f"task_{name}": value for name, value in _reading(task).items()}


def reading_digest(task: Task) -> str:
    """SHA-256 of all that turns a file into this task's rows: its fields, its function, and the code that reads."""
    return _digest(repr(sorted((name, repr(value)) for name, value in _reading(task).items())), _of_package())


def _reading(task: Task) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(task) if field.name not in _UNREAD)
    described = {name: getattr(task, name) for name in names if not name.endswith(_OF_TRAINING)}
    return described | ({"from_record": code_digest(task.from_record)} if task.from_record else {})


def code_digest(function: Callable) -> str:
    """SHA-256 of a function's source, and that of the functions and values of its package that it uses."""
    return _digest(*_sources(function, set()))


def _sources(function: Callable, seen: set[Any]) -> Iterator[str]:
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return
    seen.add(code)
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):  # made in an interactive session
        yield f"{code.co_code!r} {code.co_consts!r}"
    package = function.__module__.partition(".")[0]
    own = function.__globals__
    closed_over = {**own, **inspect.getclosurevars(function).nonlocals}
    for name in sorted({*code.co_names, *code.co_freevars}):
        value = closed_over.get(name)
        if callable(value):
            if getattr(value, "__module__", "").partition(".")[0] == package:
                yield from _sources(value, seen)
        elif name in closed_over and not inspect.ismodule(value):
            yield f"{name} = {value!r}"


@functools.cache
def _of_package() -> str:
    """The digest of this package's code but for the tables of tasks and what a task is: its fields are compared."""
    return _digest(
        *(
            path.read_text(encoding="utf-8")
            for path in sorted(Path(__file__).parent.glob("*.py"))
            if path.stem not in _TABLES
        )
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()

"""What a label written in a file means: an id, or the value of a regression."""

import re

from glue_tasks.task import Task

_WHOLE = re.compile(r"[+-]?\d+\.0*")  # "1.0": what a table with a missing value makes of 1
_TRUTH = {"true": "1", "false": "0"}  # "True": what a table makes of a column of 0 and 1, or JSON of a condition


def read_value(written: str) -> float | None:
    """A finite number, or None. Python's own 1_000 is none."""
    try:
        value = float(written)
    except ValueError:
        return None
    return value if abs(value) < float("inf") and "_" not in written else None


def read_label(task: Task, written: str) -> int | None:
    """The id of a label written as its code or its name, or None.

    Spaces around it do not count. Where that finds nothing, upper and lower case are one, 1.0 is 1, and true and false
    are 1 and 0 to a task that knows only one of both ways of writing; where that finds two labels, there is none.
    """
    written = written.strip()
    for known in (task.label_codes, task.labels):
        if written in known:
            return known.index(written)
    plain = written.casefold()
    if _WHOLE.fullmatch(plain):
        plain = str(int(plain.partition(".")[0]))
    known_as: dict[str, set[int]] = {}
    for known in (task.label_codes, task.labels):
        for label, name in enumerate(known):
            known_as.setdefault(name.strip().casefold(), set()).add(label)
    other = _TRUTH.get(plain) or next((word for word, digit in _TRUTH.items() if digit == plain), None)
    # Of a longer list of labels, 1 may be the second of many: not "true".
    if plain not in known_as and other and task.num_labels == 2:
        pair = set(_TRUTH) if other in _TRUTH else set(_TRUTH.values())
        plain = other if pair <= known_as.keys() else plain
    found = known_as.get(plain, set())
    return found.pop() if len(found) == 1 else None

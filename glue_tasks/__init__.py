"""What a task is and how its files are read; knows nothing of models."""

import difflib

from glue_tasks.chinese import CHINESE
from glue_tasks.clue import CLUE
from glue_tasks.demo import DEMO
from glue_tasks.errors import UserError
from glue_tasks.glue import GLUE
from glue_tasks.reading import READING
from glue_tasks.tagging import TAGGING
from glue_tasks.task import Task

TASKS: dict[str, Task] = {**GLUE, **CLUE, **CHINESE, **READING, **TAGGING, **DEMO}


def get_task(name: str) -> Task:
    """The task of that name or of such a folder as released, case and separators aside (`sst2`, `diagnostic`).

    Raises UserError, offering the nearest names, if there is none.
    """

    def plain(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    by_plain_name = {plain(folder): task for task in TASKS.values() for folder in task.folders}
    by_plain_name |= {plain(known): task for known, task in TASKS.items()}
    if plain(name) in by_plain_name:
        return by_plain_name[plain(name)]
    matches = difflib.get_close_matches(plain(name), by_plain_name, n=3, cutoff=0.4)
    near = list(dict.fromkeys(by_plain_name[match].name for match in matches))
    offer = f"did you mean {' or '.join(near)}?" if near else f"the tasks are {', '.join(TASKS)}"
    raise UserError(f"there is no task named {name!r}; {offer} (`python -m glue_tasks list` shows all)")


__all__ = ["TASKS", "Task", "UserError", "get_task"]

"""Training rows of other tasks: a distillation needs no gold labels, and a teacher answers to any text.

TextBrewer (arXiv 2002.12620) so takes DRCD's passages for CMRC 2018 and the other way round, and questions without
answers for SQuAD.
"""

from collections.abc import Sequence

from datasets import Dataset

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from glue_tasks.task_file import choose_task

_LABELS = "labels"


def extra_tasks(task: Task, names: Sequence[str]) -> list[Task]:
    """The tasks of the names, or of task files. Raises UserError for one that is not there, or of another kind."""
    found = [choose_task(None, name) if name.endswith(".toml") else choose_task(name, None) for name in names]
    for other in found:
        if [task.name, *(each.name for each in found)].count(other.name) > 1:
            raise UserError(f"two of the tasks to train on are called {other.name!r}; name each once, by its own name")
        if _inputs(other) != _inputs(task):
            raise UserError(
                f"--extra-task {other.name} has {_inputs(other)}, and {task.name} has {_inputs(task)}; name one that "
                "has the same"
            )
        if "train" not in other.files:
            raise UserError(f"--extra-task {other.name} has no train split; name another")
    return found


def _inputs(task: Task) -> str:
    if task.kind in ("tokens", "spans"):
        return "tokens" if task.kind == "tokens" else "questions about a context"
    return "pairs" if len(task.text_columns) > 1 else "sentences"


def labels_agree(task: Task, other: Task) -> bool:
    """Whether the gold labels of one are the other's too."""
    return (task.kind, task.labels, task.may_lack_answer) == (other.kind, other.labels, other.may_lack_answer)


def without_labels(data: Dataset) -> Dataset:
    return data.remove_columns(_LABELS) if _LABELS in data.column_names else data

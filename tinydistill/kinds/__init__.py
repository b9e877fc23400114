"""What a task's kind decides: inputs, outputs that count, head, losses, scores and predictions. One file a kind."""

from collections.abc import Mapping

from glue_tasks.task import Task
from tinydistill.kinds.kind import TaskKind
from tinydistill.kinds.multi_label import MultiLabel
from tinydistill.kinds.sentences import Classification, Regression
from tinydistill.kinds.spans import Spans
from tinydistill.kinds.tokens import Tokens

KINDS: Mapping[str, type[TaskKind]] = {
    "classification": Classification,
    "regression": Regression,
    "multi-label": MultiLabel,
    "tokens": Tokens,
    "spans": Spans,
}


def kind_of(task: Task) -> TaskKind:
    """The task's kind, which knows the task."""
    return KINDS[task.kind](task)

"""What a task's kind decides: inputs, outputs that count, head, losses, scores and predictions. One file a kind."""

from collections.abc import Mapping

from glue_tasks.task import Task
from tinydistill.kinds.kind import TaskKind
from tinydistill.kinds.masked_lm import Encoder, MaskedLM
from tinydistill.kinds.multi_label import MultiLabel
from tinydistill.kinds.sentences import Classification, Regression
from tinydistill.kinds.spans import Spans
from tinydistill.kinds.tokens import Tokens
from tinydistill.text_task import ENCODER, MASKED_LM

KINDS: Mapping[str, type[TaskKind]] = {
    "classification": Classification,
    "regression": Regression,
    "multi-label": MultiLabel,
    "tokens": Tokens,
    "spans": Spans,
    MASKED_LM: MaskedLM,
    ENCODER: Encoder,
}


def kind_of(task: Task) -> TaskKind:
    """The task's kind, which knows the task."""
    return KINDS[task.kind](task)

"""What stands for a task where there is none, but text."""

from glue_tasks.task import Task

MASKED_LM, ENCODER = "masked_lm", "encoder"  # kinds


def is_text(task: Task) -> bool:
    """Whether it stands for text without labels."""
    return task.kind in (MASKED_LM, ENCODER)


def text_task(with_head: bool = True) -> Task:
    """with_head: whether a masked language model is trained, or a bare encoder."""
    return Task(
        name="text",
        summary="plain text",
        text_columns=("text",),
        label_column="piece",
        labels=(),
        metrics=("masked_accuracy",),
        kind=MASKED_LM if with_head else ENCODER,
    )

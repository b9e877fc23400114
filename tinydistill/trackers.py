"""Trackers of experiments, such as TensorBoard, as transformers knows them.

Reference: https://huggingface.co/docs/transformers/main_classes/callback
"""

from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from glue_tasks.errors import UserError


def trackers(names: str) -> list[str]:
    """What `TrainingArguments.report_to` takes. names: with commas between.

    Raises UserError if there is none of a name, or its package is missing.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"--report-to has {name!r}; it is of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}")
        if name not in get_available_reporting_integrations():
            raise UserError(f"--report-to {name} needs its package; install it (pip install {name}), or leave it out")
    return wanted or ["none"]

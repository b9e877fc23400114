"""A list of phases of several tasks in one folder."""

from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback

from glue_tasks.errors import UserError
from tinydistill.cards import of_task
from tinydistill.cards.publishing import publish
from tinydistill.encoders.pretrained import quiet
from tinydistill.multi_task.phase_run import MultiTaskRun
from tinydistill.multi_task.report import print_report
from tinydistill.option_fields import COMMA
from tinydistill.phases import Phase
from tinydistill.preparation import check_ahead, common_tokenizer
from tinydistill.run import check_folder, tell_next
from tinydistill.settings import Plan


@quiet()
def run(phases: Sequence[Phase], plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Run the phases in their order; returns the last one's folder, which has one of a model for each task.

    plan: of several tasks. Raises UserError if anything does not fit, most of it before the first step.
    """
    options, tasks = plan.options, COMMA.join(plan.parts)
    check_folder(options, phases)
    if making := [phase.name for phase in phases if phase.makes_teacher]:
        raise UserError(
            f"the phase {making[0]} makes the teacher of a single task, and there are {tasks}; make each task's by "
            "itself, and name them with --teacher TASK=MODEL"
        )
    for task, part in plan.parts.items():
        if not part.options.teacher:
            raise UserError(f"the task {task} has no teacher; name one with --teacher {task}=MODEL")
    common_tokenizer(options)
    if len(phases) > 1:
        for part in plan.parts.values():
            check_ahead(list(phases), part.task, part.options)
    for phase in phases:
        folder = MultiTaskRun(phase, plan, callbacks).run()
    if phases[-1].keeps_best:
        of_name = {name: part.task for name, part in plan.parts.items()}
        publish(of_task.cards_of_tasks(of_name, print_report(plan, plan.phases), options.license), folder)
    else:
        tell_next(phases[-1], folder, plan.phases)
    return folder

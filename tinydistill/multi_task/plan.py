"""The settings of a run of several tasks: what each has of its own, and what there may not be."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from glue_tasks import get_task
from glue_tasks.errors import UserError
from glue_tasks.task import Task
from glue_tasks.task_file import choose_task
from tinydistill.objectives import nearest
from tinydistill.option_fields import COMMA
from tinydistill.options import Options
from tinydistill.settings import Plan, resolve, with_augmented


def resolve_several(
    names: Sequence[Task | str],
    recipe: Mapping[str, Any],
    flags: Mapping[str, Any],
    task_file: str | None,
    options: type[Options],
) -> Plan:
    """The plan of several tasks: each has its own length and teacher; phases and all else they have in common.

    Raises UserError also for what a run of several tasks does not take.
    """
    tasks = [choose_task(name, None) for name in names]
    given = [task.name for task in tasks]
    if task_file:
        raise UserError(
            f"--task-file describes a single task, and {COMMA.join(given)} are named; leave one or the other out"
        )
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"the task {name} is named twice; name each task once")
    parts = {}
    for task in tasks:
        own = resolve(task, {**recipe, "task": None}, {**flags, "task": None}, None, options, tasks)
        _check(own.options, tasks)
        teachers_of = _teachers_of(own.options, tasks)
        teacher = (f"{task.name}={teachers_of[task.name]}",) if task.name in teachers_of else ()
        parts[task.name] = dataclasses.replace(
            own, options=with_augmented(task, dataclasses.replace(own.options, teacher=teacher))
        )
    teachers = tuple(teacher for part in parts.values() for teacher in part.options.teacher)
    first = parts[tasks[0].name]
    return dataclasses.replace(first, options=dataclasses.replace(first.options, teacher=teachers), parts=parts)


def _check(options: Options, tasks: Sequence[Task]) -> None:
    """Raises UserError if options are none of a run of several tasks."""
    names = [task.name for task in tasks]
    for wrong, is_set in (
        ("--train-file names the rows of one; put each task's own into --data-dir", options.train_file),
        ("--extra-task adds rows to one; name it with --task, as a task of its own", options.extra_task),
        (
            "--augment writes the rows of one; write each task's with `python -m augment`, and take them with "
            "--augmented",
            options.augment,
        ),
        ("--chain makes the students of one; distil each task by itself", options.chain),
        (
            "--pretrained makes the teacher of one; make each task's by itself, and name them with "
            f"--teacher {names[0]}=MODEL --teacher {names[-1]}=MODEL",
            options.pretrained,
        ),
    ):
        if is_set:
            raise UserError(f"there are several tasks ({COMMA.join(names)}), and {wrong}")


def _teachers_of(options: Options, tasks: Sequence[Task]) -> dict[str, str]:
    """Task's name -> its teacher, for the tasks that have one. Raises UserError if a teacher is of none of them."""
    names, found = [task.name for task in tasks], dict[str, str]()
    for name, path in options.teachers.items() if options.teacher else ():
        if path in options.teacher:
            raise UserError(
                f"--teacher {path} does not say of which task it is ({COMMA.join(names)}); write --teacher TASK={path}"
            )
        if name not in names:
            with contextlib.suppress(UserError):
                name = get_task(name).name  # however it was written
        if name not in names:
            raise UserError(
                f"--teacher {name}={path} is of none of the tasks {COMMA.join(names)}; write --teacher TASK=MODEL"
                f"{nearest(name, names)}"
            )
        if name in found:
            raise UserError(f"the task {name} has two teachers, {found[name]} and {path}; name one")
        found[name] = path
    return found

"""TinyBERT distillation, phase by phase or all at once. `python run_tinybert.py --help` says how."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError, check_memory_limit, exit_on_user_error

with exit_on_user_error():  # Ctrl-C counts from the first import that takes time
    import typer

    from glue_tasks.command_line import first_process_speaks, run_app, spoken
    from tinydistill import flags

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

EPILOG = (
    "Example: python run_tinybert.py --phase all --task SST-2 --data-dir glue --output-dir runs/sst2 "
    "--pretrained bert-base-uncased --student tinybert-4l-312d"
)
# What those cannot do without that are no single phase, besides what `run` asks for.
_NEEDS = {"evaluate": ("data_dir",), "all": ("data_dir", "output_dir", "student")}


def _command(given: dict[str, Any]) -> None:
    """Distil a fine-tuned BERT into a small student, on one of the tasks of `python -m glue_tasks list`."""
    with exit_on_user_error(), _with_the_others(), spoken(given["log_format"] or "", bool(given["quiet"])):
        _run(given)


def _with_the_others() -> contextlib.AbstractContextManager:
    """One of several processes, as torchrun and `accelerate launch` name them in the environment, meets the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return contextlib.nullcontext()
    from tinydistill import processes

    return processes.together()


def _run(given: dict[str, Any]) -> None:
    from tinydistill.settings import read_recipe, resolve, with_augmented
    from tinydistill.text_task import text_task

    check_memory_limit()
    recipe = read_recipe(Path(given["recipe"])) if given["recipe"] else {}
    name = given["phase"]
    if name in _NEEDS or name in flags.PHASES:  # said before a task is missed
        flags.check_used(given, name, flags.PHASES, recipe)
    on_text = name in flags.PHASES and flags.PHASES[name].reads_text
    task = text_task() if on_text else given["task"]
    known = resolve(task, recipe, {}, given["task_file"]).phases
    if name not in (*known, *_NEEDS):
        raise UserError(f"there is no phase {name!r}; there are {', '.join([*known, *_NEEDS])}")
    flags.check_used(given, name, known, recipe)
    settings = flags.settings_of(given, name, known)
    plan = resolve(task, recipe, settings, given["task_file"])
    options = plan.options if plan.parts else with_augmented(plan.task, plan.options)
    chosen = [plan.phases[each] for each in (plan.all if name == "all" else (name,)) if each in plan.phases]
    if options.dry_run:
        from tinydistill import sweep
        from tinydistill.preparation import preview

        shown = {"phase": name, **preview(chosen, dataclasses.replace(plan, options=options))}
        if options.seeds or options.sweep:
            shown["runs"] = [cell.folder for cell in sweep.cells(options, [p for p in chosen if not p.makes_teacher])]
        print(json.dumps(shown, indent=2))
        return
    for needed in _NEEDS.get(name) or known[name].needs:
        if not (getattr(options, needed) or (needed == "student" and options.chain)):
            raise UserError(f"--phase {name} needs --{needed.replace('_', '-')}")
    if name == "evaluate":
        from tinydistill.report.measure import print_scores

        print_scores(plan.task, options, options.teachers | ({"student": options.student} if options.student else {}))
        return
    names = [phase.name for phase in chosen if options.pretrained or not phase.makes_teacher]
    if not names:
        raise UserError(f"--phase {name} makes a teacher first; name a model to start from with --pretrained")
    augment = None
    if options.augment and name == "all":  # a recipe may serve single phases too
        from augment.of_run import augment_for, settings_for

        settings_for(plan.task, options)  # mistakes are told before the teacher is trained
        augment = augment_for
    plan = dataclasses.replace(plan, options=options)
    if not (options.seeds or options.sweep):
        _train(names, plan, augment)
        return
    from tinydistill import sweep

    students = [phase for phase in chosen if not phase.makes_teacher]
    of_cell = lambda cell: resolve(task, recipe, sweep.laid_over(settings, cell, students), given["task_file"])  # noqa: E731
    sweep.run(names, plan, of_cell, _train, augment)


def _train(names: Sequence[str], plan: Any, augment: Any = None) -> Path:
    """Run phases; gives the last one's folder."""
    phases = [plan.phases[name] for name in names]
    if len(phases) == 1 and phases[0].reads_text:
        from tinydistill.general import run as run_on_text

        return run_on_text(phases[0], plan.options)
    if plan.parts:
        from tinydistill.multi_task.run import run as run_together

        return run_together(phases, plan)
    from tinydistill.run import run

    return run(phases, plan.task, plan.options, augment, plan.phases)


app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
app.command(epilog=EPILOG)(flags.command(_command))


def main(args: list[str] | None = None) -> None:
    """Run the command line; also callable from Python with the arguments as a list. Returns if all went well."""
    with first_process_speaks(), exit_on_user_error():
        try:
            run_app(app, (sys.argv[1:] if args is None else args) or ["--help"], "run-tinybert", "run_tinybert.py")
        except SystemExit as stop:
            if isinstance(stop.__context__, typer.Exit) and stop.code == 130:
                # Ctrl-C before `run` began, which typer ends without a word.
                raise KeyboardInterrupt from None
            if stop.code:
                raise


if __name__ == "__main__":
    main()

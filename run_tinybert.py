"""TinyBERT distillation, phase by phase or all at once. `python run_tinybert.py --help` says how."""

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError, check_memory_limit, exit_on_user_error

with exit_on_user_error():  # Ctrl-C counts from the first import that takes time
    import typer

    from glue_tasks.command_line import first_process_speaks, run_app
    from glue_tasks.places import augmented_name, find_file
    from glue_tasks.task import Task
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
    with exit_on_user_error(), _with_the_others():
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
    plan = resolve(task, recipe, flags.settings_of(given, name, known), given["task_file"])
    options = plan.options if plan.parts else with_augmented(plan.task, plan.options)
    chosen = [plan.phases[each] for each in (plan.all if name == "all" else (name,)) if each in plan.phases]
    if options.dry_run:
        from tinydistill.preparation import preview

        print(json.dumps({"phase": name, **preview(chosen, dataclasses.replace(plan, options=options))}, indent=2))
        return
    for needed in _NEEDS.get(name) or known[name].needs:
        if not (getattr(options, needed) or (needed == "student" and options.chain)):
            raise UserError(f"--phase {name} needs --{needed.replace('_', '-')}")
    if name == "evaluate":
        from tinydistill.report.measure import print_scores

        print_scores(plan.task, options, options.teachers | ({"student": options.student} if options.student else {}))
        return
    phases = [phase for phase in chosen if options.pretrained or not phase.makes_teacher]
    if not phases:
        raise UserError(f"--phase {name} makes a teacher first; name a model to start from with --pretrained")
    if on_text:
        from tinydistill.general import run as run_on_text

        run_on_text(chosen[0], options)
        return
    if plan.parts:
        from tinydistill.multi_task.run import run as run_together

        run_together(phases, plan)
        return
    from tinydistill.run import run

    augment = _augment if options.augment and name == "all" else None  # a recipe may serve single phases too
    if augment:
        _augmentation(plan.task, options)  # mistakes are told before the teacher is trained
    run(phases, plan.task, options, augment, plan.phases)


def _augmentation(task: Task, options: Any) -> Any:
    """The settings of the augmentation. Raises UserError if they cannot be."""
    from augment.candidate_options import CandidateOptions
    from augment.settings import Settings

    if not (options.mlm or options.pretrained):
        raise UserError("--augment needs --mlm or --pretrained: a masked language model")
    vectors = Path(options.vectors) if options.vectors else None
    candidates = CandidateOptions(multi_piece_words=options.multi_piece_words or None, language=task.language)
    if vectors and "vectors" in candidates.sources(vectors) and not vectors.is_file():
        raise UserError(f"there is no file {vectors}; name a file of word vectors with --vectors")
    return Settings(
        task=task,
        train_file=Path(options.train_file) if options.train_file else find_file(task, Path(options.data_dir), "train"),
        output=Path(options.output_dir) / "augment" / augmented_name(task),
        mlm=options.mlm or options.pretrained,
        vectors=vectors,
        options=candidates,
        variants=task.variants if options.variants < 0 else options.variants,
        task_file=Path(options.task_file) if options.task_file else None,
        seed=options.seed,
        precision=options.precision,
        skip_bad_rows=options.skip_bad_rows,
        swap_entities=options.swap_entities,
    )


def _augment(task: Task, options: Any) -> Path:
    from augment.pipeline import augment_file

    settings = _augmentation(task, options)
    counts = augment_file(settings, resume=options.resume, overwrite=options.overwrite)
    print(f"augmentation: {counts.rows_out:,} rows from {counts.rows_in:,} in {settings.output}")
    return settings.output


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

"""TinyBERT distillation, phase by phase or all at once. `python run_tinybert.py --help` says how."""

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from glue_tasks.errors import UserError, check_memory_limit, exit_on_user_error

with exit_on_user_error():  # Ctrl-C counts from the first import that takes time
    import typer

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Phase(StrEnum):
    """What to do."""

    teacher = "teacher"
    intermediate = "intermediate"
    prediction = "prediction"
    baseline = "baseline"
    evaluate = "evaluate"
    all = "all"


EPILOG = (
    "Example: python run_tinybert.py --phase all --task SST-2 --data-dir glue --output-dir runs/sst2 "
    "--pretrained bert-base-uncased --student tinybert-4l-312d"
)
app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


def option(help_text: str, panel: str | None = None, *names: str) -> Any:
    """A typer option whose default is decided later: by the recipe, or by the task."""
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False)


TRAINING, DISTILLATION, AUGMENTATION, RUN = "Training", "Distillation", "Augmentation (--phase all)", "Run"


@app.command(epilog=EPILOG)
def run(
    phase: Annotated[
        Phase,
        option(
            "**teacher**: fine-tune --pretrained on the task. **intermediate**: teach the student the teacher's "
            "attention scores and hidden states. **prediction**: teach it the teacher's outputs. **baseline**: train "
            "the same student on gold labels, to compare with; it learns nothing from --teacher, but needs it: the "
            "student may be copied from it, and the report compares with it. **evaluate**: score --teacher and "
            "--student on dev. **all**: teacher (if --pretrained is given), augmentation (with --augment), "
            "intermediate, prediction and the report, leaving out what is finished already."
        ),
    ],
    task: Annotated[str | None, option("Name of the task; `python -m glue_tasks list` shows them.")] = None,
    task_file: Annotated[
        str | None, option("TOML file that describes a task of your own; see docs/adding_a_task.md.")
    ] = None,
    data_dir: Annotated[
        str | None, option("Folder with a folder of files for each task, such as DIR/SST-2/train.tsv.")
    ] = None,
    output_dir: Annotated[
        str | None, option("Folder of the run; each phase writes its model to a folder below it.")
    ] = None,
    teacher: Annotated[
        str | None, option("Fine-tuned model: a folder or a hub id. Default: the run's own teacher.")
    ] = None,
    student: Annotated[
        str | None,
        option(
            "A folder, a hub id, `init:layers=3` (copies of teacher blocks), `tinybert-4l-312d`, `tinybert-6l-768d` or "
            "`shape:layers=3,hidden=312,heads=12,ffn=1200` (fresh weights)."
        ),
    ] = None,
    pretrained: Annotated[
        str | None, option("Pretrained model that --phase teacher fine-tunes: a folder or a hub id.")
    ] = None,
    recipe: Annotated[Path | None, option("TOML file with settings; flags win over it.")] = None,
    # Training
    train_file: Annotated[
        str | None, option("Train on this file in the task's layout instead of its train file.", TRAINING)
    ] = None,
    augmented: Annotated[
        bool,
        option("Train on the task folder's train_aug.tsv, which `python -m augment` writes.", TRAINING, "--augmented"),
    ] = False,
    skip_bad_rows: Annotated[
        bool | None,
        option("Leave out rows that cannot be read, and say how many and which.", TRAINING, "--skip-bad-rows"),
    ] = None,
    epochs: Annotated[float | None, option("Epochs of the phase (not with --phase all).", TRAINING)] = None,
    learning_rate: Annotated[
        float | None, option("Learning rate of the phase (not with --phase all).", TRAINING)
    ] = None,
    teacher_epochs: Annotated[float | None, option("Default: the task's, mostly 3.", TRAINING)] = None,
    teacher_lr: Annotated[float | None, option("Default: the task's, mostly 2e-5.", TRAINING)] = None,
    intermediate_epochs: Annotated[float | None, option("Default: the task's, 10 to 50.", TRAINING)] = None,
    intermediate_lr: Annotated[float | None, option("Default: the task's, mostly 5e-5; constant.", TRAINING)] = None,
    prediction_epochs: Annotated[float | None, option("Default: the task's, mostly 3.", TRAINING)] = None,
    prediction_lr: Annotated[
        float | None, option("Default: the task's, mostly 3e-5; linear decay after 10% of warm-up.", TRAINING)
    ] = None,
    max_steps: Annotated[int | None, option("Optimiser steps of each phase, instead of its epochs.", TRAINING)] = None,
    batch_size: Annotated[int | None, option("Examples of one forward pass. Default: 32.", TRAINING)] = None,
    accumulate: Annotated[int | None, option("Forward passes of one optimiser step. Default: 1.", TRAINING)] = None,
    max_length: Annotated[
        int | None, option("Word pieces of an example. Default: the task's, mostly 128.", TRAINING)
    ] = None,
    padding: Annotated[str | None, option("`longest` (of the batch; default) or `max_length`.", TRAINING)] = None,
    weight_decay: Annotated[float | None, option("Default: 0.01, not on biases and layer norms.", TRAINING)] = None,
    # Distillation
    projection: Annotated[
        str | None,
        option(
            "From the student's hidden states to the teacher's: `per-layer`, `shared` or `none`. Default: `none` where "
            "both are equally wide, else `per-layer`.",
            DISTILLATION,
        ),
    ] = None,
    layer_map: Annotated[
        str | None,
        option(
            "Teacher block (from 0) of each student block, such as `1,3,5`. Default: uniform (2i+1 from 12 to 6).",
            DISTILLATION,
        ),
    ] = None,
    heads: Annotated[
        str | None, option("`match` (default), or `mean` to compare scores averaged over heads.", DISTILLATION)
    ] = None,
    temperature: Annotated[
        float | None, option("Of both softmaxes in the prediction phase. Default: 1.", DISTILLATION)
    ] = None,
    loss_scale: Annotated[
        str | None,
        option(
            "`valid` (default): means over what is there; or `reference`: those of TinyBERT's authors, over padding "
            "and classes too (needs --padding max_length).",
            DISTILLATION,
        ),
    ] = None,
    cache_teacher: Annotated[
        bool | None,
        option(
            "Run the teacher in each step of the prediction phase, instead of once for each example.",
            DISTILLATION,
            " /--no-cache-teacher",
        ),
    ] = None,
    teacher_precision: Annotated[
        str | None,
        option(
            "`auto` (default): as --precision; or `int8`: the teacher's blocks multiply 8-bit integers, off by about "
            "3%. Half as fast again as bf16 for a teacher of BERT-base's width (docs/speed.md). Needs an x86 "
            "processor with AVX512-VNNI and a C++ compiler.",
            DISTILLATION,
        ),
    ] = None,
    allow_weak_teacher: Annotated[
        bool | None,
        option("Distil even from a teacher at chance level (WNLI's usual case).", DISTILLATION, "--allow-weak-teacher"),
    ] = None,
    # Augmentation
    augment: Annotated[
        bool, option("Augment the train file first and train both phases on the result.", AUGMENTATION, "--augment")
    ] = False,
    mlm: Annotated[
        str | None, option("Masked language model: a folder or a hub id. Default: --pretrained.", AUGMENTATION)
    ] = None,
    vectors: Annotated[
        Path | None, option("Word vectors as text (GloVe or word2vec).", AUGMENTATION, "--vectors", "--glove")
    ] = None,
    several_pieces: Annotated[
        str | None,
        option(
            "Who answers for words of several pieces: `vectors` (default; in Chinese `vectors,fill`), `mask`, `fill`; "
            "see `python -m augment --help`.",
            AUGMENTATION,
        ),
    ] = None,
    variants: Annotated[
        int | None, option("Variants of each sentence. Default: the task's N.", AUGMENTATION, "--N")
    ] = None,
    # Run
    resume: Annotated[bool, option("Continue an unfinished run of the same settings.", RUN, "--resume")] = False,
    overwrite: Annotated[
        bool, option("Delete what an earlier run left in the phase's folder.", RUN, "--overwrite")
    ] = False,
    dry_run: Annotated[bool, option("Print the resolved settings and stop.", RUN, "--dry-run")] = False,
    seed: Annotated[int | None, option("Default: 42.", RUN)] = None,
    precision: Annotated[
        str | None,
        option("`bf16`, `fp16`, `float32` or `auto` (default): the fastest that the hardware has.", RUN),
    ] = None,
    eval_steps: Annotated[
        int | None, option("Steps between evaluations and checkpoints. Default: once an epoch.", RUN)
    ] = None,
    logging_steps: Annotated[int | None, option("Steps between losses in the log. Default: 50.", RUN)] = None,
) -> None:
    """Distil a fine-tuned BERT into a small student, on one of the tasks of `python -m glue_tasks list`."""
    given = dict(locals())
    with exit_on_user_error(), _with_the_others():
        _run(given)


def _with_the_others() -> contextlib.AbstractContextManager:
    """One of several processes, as torchrun and `accelerate launch` name them in the environment, meets the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return contextlib.nullcontext()
    from tinydistill import processes

    return processes.together()


# Flags that only these phases use: with another one they would be ignored without a word.
_FLAGS_OF_PHASES = {
    "pretrained": (Phase.teacher, Phase.all),
    "teacher": tuple(phase for phase in Phase if phase != Phase.teacher),
    "teacher_precision": (Phase.intermediate, Phase.prediction, Phase.all),
    **dict.fromkeys(("augment", "mlm", "vectors", "several_pieces", "variants"), (Phase.all,)),
}
# Flags that ask for another one.
_NEEDS_AUGMENT = ("mlm", "vectors", "several_pieces", "variants")

# Flags whose name in the settings differs, and those that are settings under their own name.
_PHASE_FLAGS = {
    "teacher_epochs": ("teacher_phase", "epochs"),
    "teacher_lr": ("teacher_phase", "learning_rate"),
    "intermediate_epochs": ("intermediate", "epochs"),
    "intermediate_lr": ("intermediate", "learning_rate"),
    "prediction_epochs": ("prediction", "epochs"),
    "prediction_lr": ("prediction", "learning_rate"),
}
_NOT_SETTINGS = {
    "phase",
    "recipe",
    "task",
    "task_file",
    "epochs",
    "learning_rate",
    "augmented",
    "augment",
    "mlm",
    "vectors",
}
_NOT_SETTINGS |= {"several_pieces", "variants", "resume", "overwrite", "dry_run", *_PHASE_FLAGS}


def _check_flags(given: dict[str, Any]) -> None:
    """Refuse what the command line says and the phase does not use; a recipe may serve several phases."""
    phase = given["phase"]
    for name, phases in _FLAGS_OF_PHASES.items():
        if phase not in phases and _is_given(given, name):
            others = " or ".join(phases)
            raise UserError(f"--phase {phase} does not use {_flag(name)}; leave it out, or choose --phase {others}")
    for name in _NEEDS_AUGMENT:
        if not given["augment"] and _is_given(given, name):
            raise UserError(f"{_flag(name)} is for --augment, which is not given; add it, or leave {_flag(name)} out")
    if given["augment"] and given["augmented"]:
        raise UserError("--augment makes the training file and --augmented takes one that is there; give one of them")


def _is_given(given: dict[str, Any], name: str) -> bool:
    return given[name] is not None and given[name] is not False


def _flag(name: str) -> str:
    return "--N" if name == "variants" else f"--{name.replace('_', '-')}"


def _run(given: dict[str, Any]) -> None:
    from glue_tasks.places import AUGMENTED, find_folder
    from tinydistill.settings import read_recipe, resolve

    check_memory_limit()
    _check_flags(given)
    recipe = read_recipe(given["recipe"]) if given["recipe"] else {}
    task, settings = resolve(given["task"], recipe, _flags(given), given["task_file"])
    phase: Phase = given["phase"]
    if given["augmented"]:
        if settings.train_file:
            raise UserError("--augmented and --train-file both name the training data; give one of them")
        augmented = find_folder(task, Path(settings.data_dir)) / AUGMENTED
        if not augmented.is_file():
            which = f"--task-file {settings.task_file}" if settings.task_file else f"--task {task.name}"
            raise UserError(f"there is no file {augmented}; write it with `python -m augment {which}`")
        settings = _replace(settings, train_file=str(augmented))
    if given["dry_run"]:
        import json

        print(json.dumps({"phase": phase, **settings.to_dict()}, indent=2))
        return
    needs = {
        Phase.teacher: ("data_dir", "output_dir", "pretrained"),
        Phase.evaluate: ("data_dir",),
        Phase.all: ("data_dir", "output_dir", "student"),
    }
    for name in needs.get(phase, ("data_dir", "output_dir")):
        if not getattr(settings, name):
            raise UserError(f"--phase {phase} needs --{name.replace('_', '-')}")
    _PHASES[phase](task, settings, given)


def _flags(given: dict[str, Any]) -> dict[str, Any]:
    """The flags as settings; those not given are None."""
    flags: dict[str, Any] = {name: value for name, value in given.items() if name not in _NOT_SETTINGS}
    for flag, (phase, field) in _PHASE_FLAGS.items():
        flags.setdefault(phase, {})[field] = given[flag]
    for field in ("epochs", "learning_rate"):
        if given[field] is not None:
            phase = given["phase"]
            if phase in (Phase.all, Phase.evaluate):
                raise UserError(
                    f"--{field.replace('_', '-')} is for a single phase; with --phase {phase} say --intermediate-... "
                    "and --prediction-..."
                )
            section = "teacher_phase" if phase == Phase.teacher else str(phase)
            flags.setdefault(section, {})[field] = given[field]
    return flags


def _replace(settings: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(settings, **changes)


def _start(given: dict[str, Any]) -> Any:
    from tinydistill.phase_run import Start

    if given["resume"] and given["overwrite"]:
        raise UserError("--resume and --overwrite exclude each other")
    return Start(given["resume"], given["overwrite"])


def _with_teacher(settings: Any) -> Any:
    """The teacher that was named, else the one this output folder made."""
    from tinydistill.runs import PhaseFolder

    own = PhaseFolder(Path(settings.output_dir), "teacher")
    if settings.teacher:
        return settings
    if own.is_finished:
        return _replace(settings, teacher=str(own.path))
    raise UserError("no teacher is named; give one with --teacher, or make one with --phase teacher --pretrained MODEL")


def _teacher(task: Any, settings: Any, given: dict[str, Any]) -> None:
    from tinydistill.phases import train_teacher

    folder = train_teacher(task, settings, _start(given))
    _print_scores(task, settings, {"teacher": str(folder)})


def _student(task: Any, settings: Any, given: dict[str, Any]) -> None:
    from tinydistill.phases import train_student

    settings = _with_teacher(settings)
    folder = train_student(str(given["phase"]), task, settings, _start(given))
    if given["phase"] == Phase.intermediate:
        print(f"student: {folder}\nnext: the same command with --phase prediction")
    else:
        _report(task, settings)


def _all(task: Any, settings: Any, given: dict[str, Any]) -> None:
    from tinydistill import processes
    from tinydistill.phases import train_student, train_teacher

    start = _start(given)
    if settings.pretrained and settings.teacher:
        raise UserError("--pretrained makes a teacher and --teacher names one; give one of them")
    _check_before_hours(task, settings, given)
    if settings.pretrained:
        # The teacher does not learn from variants: they carry copied labels, which only a teacher's outputs mend.
        of_teacher = _replace(settings, train_file="") if given["augmented"] else settings
        teacher = train_teacher(task, of_teacher, start)
        settings = _replace(settings, teacher=str(teacher))
    settings = _with_teacher(settings)
    if given["augment"]:
        variants = processes.from_first(lambda: _augment(task, settings, given))
        settings = _replace(settings, train_file=str(variants))
    train_student("intermediate", task, settings, start)
    train_student("prediction", task, _replace(settings, student=""), start)
    _report(task, settings)


def _check_before_hours(task: Any, settings: Any, given: dict[str, Any]) -> None:
    """Mistakes about later phases, told before the teacher is trained."""
    from tinydistill.phases import check_ahead

    check_ahead(task, settings)
    if given["augment"]:
        from augment.candidate_options import check_multi_piece_words

        if not (given["mlm"] or settings.pretrained):
            raise UserError("--augment needs --mlm or --pretrained: a masked language model")
        by_vectors = check_multi_piece_words(given["several_pieces"], given["vectors"], task.language)
        if by_vectors and not given["vectors"].is_file():
            raise UserError(f"there is no file {given['vectors']}; name a file of word vectors with --vectors")


def _augment(task: Any, settings: Any, given: dict[str, Any]) -> Path:
    from augment.candidate_options import CandidateOptions
    from augment.pipeline import Settings, augment_file
    from glue_tasks.places import AUGMENTED, find_file

    augmentation = Settings(
        task=task,
        train_file=Path(settings.train_file)
        if settings.train_file
        else find_file(task, Path(settings.data_dir), "train"),
        output=Path(settings.output_dir) / "augment" / AUGMENTED,
        mlm=given["mlm"] or settings.pretrained,
        vectors=given["vectors"],
        options=CandidateOptions(multi_piece_words=given["several_pieces"], language=task.language),
        variants=task.variants if given["variants"] is None else given["variants"],
        task_file=Path(settings.task_file) if settings.task_file else None,
        seed=settings.seed,
        precision=settings.precision,
        skip_bad_rows=settings.skip_bad_rows,
    )
    counts = augment_file(augmentation, resume=given["resume"], overwrite=given["overwrite"])
    print(f"augmentation: {counts.rows_out:,} rows from {counts.rows_in:,} in {augmentation.output}")
    return augmentation.output


def _evaluate(task: Any, settings: Any, given: dict[str, Any]) -> None:
    paths = {who: getattr(settings, who) for who in ("teacher", "student") if getattr(settings, who)}
    if not paths:
        raise UserError("--phase evaluate needs --teacher or --student, or both")
    _print_scores(task, settings, paths)


def _print_scores(task: Any, settings: Any, paths: dict[str, str]) -> None:
    import tempfile

    from glue_tasks.tally import in_words
    from tinydistill import processes
    from tinydistill.encoders.precision import device
    from tinydistill.models import load_fine_tuned
    from tinydistill.report import describe

    if not processes.is_first():
        return
    models = {}
    for who, path in paths.items():
        model, notes = load_fine_tuned(path, task)
        models[who] = model.to(device())
        for note in notes:
            print(f"note: {note}")
    with tempfile.TemporaryDirectory() as scratch:
        settings = settings if settings.output_dir else _replace(settings, output_dir=scratch)
        for who, entry in describe(task, settings, models, paths).items():
            for split, scores in entry["dev"].items():
                figures = ", ".join(f"{metric} {value:.4f}" for metric, value in scores.items())
                rows, size = entry["dev_rows"][split], f"{entry['parameters'] / 1e6:.2f} M parameters"
                print(f"{who} on {split}: {figures} ({rows['rows']:,} rows{in_words(rows)}; {size}; {paths[who]})")


def _report(task: Any, settings: Any) -> None:
    from tinydistill import processes
    from tinydistill.report import table, to_text, write_report

    if not processes.is_first():  # which then has the machine to itself, as latency wants it
        return
    report = write_report(task, settings)
    print(f"\n{to_text(table(report))}\n")
    for name, entry in report["students"].items():
        print(f"{name}: {entry['path']}")
    for name in ("report.md", "report.json"):
        print(f"report: {Path(settings.output_dir) / name}")


_PHASES = {
    Phase.teacher: _teacher,
    Phase.intermediate: _student,
    Phase.prediction: _student,
    Phase.baseline: _student,
    Phase.evaluate: _evaluate,
    Phase.all: _all,
}


def main(args: list[str] | None = None) -> None:
    """Run the command line; also callable from Python with the arguments as a list. Returns if all went well."""
    with _one_voice(), exit_on_user_error():
        try:
            app(args, prog_name="run_tinybert.py")
        except SystemExit as stop:
            if isinstance(stop.__context__, typer.Exit) and stop.code == 130:
                # Ctrl-C before `run` began, which typer ends without a word.
                raise KeyboardInterrupt from None
            if stop.code:
                raise


@contextlib.contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes (torchrun names their ranks) only the first speaks."""
    with contextlib.ExitStack() as silence:
        if int(os.environ.get("RANK", "0")) > 0:
            nowhere = silence.enter_context(open(os.devnull, "w"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
            silence.enter_context(contextlib.redirect_stderr(nowhere))
        yield


if __name__ == "__main__":
    main(sys.argv[1:] or ["--help"])

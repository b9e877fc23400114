"""Distillation from Python: models and datasets in memory, or by name, in; a student out."""

import dataclasses
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill.dataset_task import FILES, described, write_split
from tinydistill.encoders.config import load_config
from tinydistill.encoders.pretrained import quiet
from tinydistill.kinds import kind_of
from tinydistill.models import with_shared_weights
from tinydistill.multi_task.run import run as run_several
from tinydistill.objectives import TEACHER
from tinydistill.phases import PHASES, Phase, check_phases
from tinydistill.run import run
from tinydistill.settings import Plan, check_ranges, resolve

STUDENT = "student"
_TASK_NAME = re.compile(r"[A-Za-z0-9_-]+")
_INPUTS = "inputs"  # the folder below the run's of what came from memory
_DATA = "data.tasks"  # in it, beside the models, whose names have no dot


@quiet()
def distill(
    teacher: PreTrainedModel | str | Mapping[str, PreTrainedModel | str],
    student: PreTrainedModel | str,
    train_dataset: Dataset | Mapping[str, Dataset],
    eval_dataset: Dataset | Mapping[str, Dataset],
    output_dir: str | Path = "",
    tokenizer: PreTrainedTokenizerBase | None = None,
    phases: Sequence[str | Phase] = ("intermediate", "prediction"),
    columns: Mapping[str, str] | None = None,
    args: TrainingArguments | None = None,
    metrics: Sequence[str] = (),
    callbacks: Sequence[TrainerCallback] = (),
    language: str = "en",
    **options: Any,
) -> PreTrainedModel | dict[str, PreTrainedModel]:
    """Distil a fine-tuned teacher into a student, which is returned; it lies in `output_dir` too, with a report.

    Of several tasks, teachers and datasets are given by the tasks' names, and so are the students that are returned:
    one for each task, which have their body in common.

    teacher, student: loaded models, which stay as they are, or what `--teacher` and `--student` take: a folder, a hub
    id, and for the student `init:...`, `tinybert-4l-312d` or `shape:...`, or a chain, `teacher>rbt6>minirbt-h256`, as
    `--chain` takes it. Several teachers are given by name.
    train_dataset, eval_dataset: with the columns `text`, perhaps `text_pair`, and `label` (names, or numbers in the
    order of the teacher's outputs); or `tokens` and `tags`; or `question`, `context` and `answers` (as SQuAD's on the
    hub). `columns` maps other names to these. Training rows need labels only where a phase learns from them.
    tokenizer: of a teacher that is a loaded model.
    phases: names in PHASES, or phases of your own. The default are TinyBERT's two.
    args: its batch size, accumulation, steps, epochs, learning rate, decay, clipping, seed, precision, gradient
    checkpointing and intervals are those of every phase, in place of TinyBERT's.
    metrics: names of glue_tasks.metrics.METRICS, the first of which selects the checkpoint.
    language: of tokens and questions; "zh" reads them by character.
    callbacks: transformers' TrainerCallbacks, for each phase; their `model` is a Distiller, with the `student` in it.
    options: those of the command line by their names in a recipe, such as `max_steps=100`, `temperature=2.0`, or
    `prediction={"epochs": 5}`.

    The same call again continues what was interrupted, or returns what is finished; `overwrite=True` starts over.
    Raises UserError, in one sentence, most of it before the first step.
    """
    output = Path(output_dir or (args.output_dir if args else ""))
    if not str(output_dir) and args is None:
        raise UserError("distill needs output_dir, the folder of the run")
    inputs = output / _INPUTS
    teachers = dict(teacher) if isinstance(teacher, Mapping) else {TEACHER: teacher}
    if all(isinstance(each, str) for each in teachers.values()) == (tokenizer is not None):
        raise UserError("give the tokenizer with a teacher that is a loaded model, and only then")
    if STUDENT in teachers:
        raise UserError(f"a teacher or a task is called {STUDENT!r}, which is the student's name; choose another")
    models = {**teachers, STUDENT: student}
    names = {who: model if isinstance(model, str) else str(inputs / who) for who, model in models.items()}
    splits = _by_task(train_dataset, eval_dataset, teacher)
    tasks, configs = [], {}
    for name, (_, dev) in splits.items():
        own = teachers[name] if len(splits) > 1 else next(iter(teachers.values()))
        configs[name] = load_config(own) if isinstance(own, str) else own.config
        task = described(configs[name], dev, columns or {}, metrics, language)
        tasks.append(dataclasses.replace(task, name=name))
    given: dict[str, Any] = {**_options_of(args, phases), **options}
    named = [names[who] if len(teachers) == 1 else f"{who}={names[who]}" for who in teachers]
    made_of = names[STUDENT]
    given["chain" if ">" in made_of and not Path(made_of).exists() else "student"] = made_of
    given |= {"teacher": named, "data_dir": str(inputs / _DATA), "output_dir": str(output)}
    if not given.get("overwrite"):
        given["resume"] = True
    plan = resolve(tasks if len(tasks) > 1 else tasks[0], {}, given)
    chosen = [_phase(plan, phase) for phase in phases]
    known = {**plan.phases, **{phase.name: phase for phase in chosen}}
    check_phases(known)
    for who, model in models.items():
        if not isinstance(model, str):
            _save(model, tokenizer, inputs / who)
    for task in tasks:
        for split, data in zip(FILES, splits[task.name], strict=True):
            write_split(task, configs[task.name], data, columns or {}, inputs / _DATA / task.name / FILES[split])
    if len(tasks) > 1:
        folder = run_several(chosen, dataclasses.replace(plan, phases=known), callbacks)
        return {task.name: kind_of(task).auto_model.from_pretrained(str(folder / task.name)) for task in tasks}
    folder = run(chosen, tasks[0], plan.options, known=known, callbacks=callbacks)
    found = kind_of(tasks[0]).auto_model.from_pretrained(str(folder))
    return {tasks[0].name: found} if isinstance(train_dataset, Mapping) else found


def _by_task(
    train: Dataset | Mapping[str, Dataset], dev: Dataset | Mapping[str, Dataset], teacher: Any
) -> dict[str, tuple[Dataset, Dataset]]:
    """Task's name -> its two splits; a single one that has no name is called "custom". Raises UserError."""
    if not isinstance(train, Mapping) and not isinstance(dev, Mapping):
        return {"custom": (train, dev)}
    given = {"train_dataset": train, "eval_dataset": dev, "teacher": teacher}
    names = [sorted(each) if isinstance(each, Mapping) else None for each in given.values()]
    if None in names or names != 3 * [names[0]]:
        said = "; ".join(
            f"{what} has {', '.join(own) if own else 'none'}" for what, own in zip(given, names, strict=True)
        )
        raise UserError(
            f"of several tasks, train_dataset, eval_dataset and teacher have an entry for each task's name ({said}); "
            "give one Dataset each for a single task"
        )
    if wrong := next((name for name in names[0] or () if not _TASK_NAME.fullmatch(name)), None):
        raise UserError(f"the task's name {wrong!r} is a folder's too; take letters, digits, _ and -")
    return {name: (train[name], dev[name]) for name in train}


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, folder: Path) -> None:
    """Save a model that was loaded, so that every part of a run can name it; the folder appears when it is whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with_shared_weights(model).save_pretrained(partial)  # which notes things in the configuration it saves
    if tokenizer is not None:
        tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _phase(plan: Plan, phase: str | Phase) -> Phase:
    if isinstance(phase, Phase):
        check_ranges(phase.training)
        return phase
    if phase not in plan.phases:
        raise UserError(f"there is no phase {phase!r}; there are {', '.join(PHASES)}")
    return plan.phases[phase]


def _options_of(args: TrainingArguments | None, phases: Sequence[str | Phase]) -> dict[str, Any]:
    """transformers' arguments as the options that they are here."""
    if args is None:
        return {}
    if 0 < (args.eval_steps or 0) < 1:
        raise UserError(
            f"args.eval_steps is {args.eval_steps}, for transformers a share of all steps, of which each phase has its "
            f"own number; give distill a share of an epoch: eval_steps={args.eval_steps}"
        )
    how = "bf16" if args.bf16 else "fp16" if args.fp16 else "float32"
    found: dict[str, Any] = {
        "batch_size": args.per_device_train_batch_size,
        "accumulate": args.gradient_accumulation_steps,
        "max_steps": max(args.max_steps, 0),
        "weight_decay": args.weight_decay,
        "max_grad_norm": args.max_grad_norm,
        "seed": args.seed,
        "precision": how,
        "logging_steps": int(args.logging_steps),
        "eval_steps": float(args.eval_steps or 0),
        "gradient_checkpointing": bool(args.gradient_checkpointing),
    }
    training = {"epochs": float(args.num_train_epochs), "learning_rate": args.learning_rate}
    tables = [PHASES[name].table or name for name in phases if isinstance(name, str) and name in PHASES]
    return found | {table: dict(training) for table in tables}

"""Settings of a run: defaults, then the recipe, then the flags. An unknown key is an error."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from glue_tasks.task_file import choose_task


@dataclass(frozen=True)
class Training:
    """How one phase trains. Without a source in the comment, a default is TinyBERT's (reference: arXiv 1909.10351)."""

    epochs: float
    learning_rate: float
    schedule: str = "linear"  # to zero, after the warm-up; or "constant"
    warmup: float = 0.1  # share of the steps in which the rate rises from zero


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run. Paths stay as the user wrote them."""

    task: str
    task_file: str = ""  # of a task of the user's own; "" for one of the tables
    data_dir: str = ""
    output_dir: str = ""
    pretrained: str = ""  # what --phase teacher fine-tunes
    teacher: str = ""
    student: str = ""
    train_file: str = ""  # "" is the task's own train file
    skip_bad_rows: bool = False  # leave out rows that cannot be read, instead of stopping

    max_length: int = 0  # pieces; 0 is the task's
    batch_size: int = 32  # examples of one forward pass on each device
    accumulate: int = 1  # forward passes of one optimiser step
    max_steps: int = 0  # optimiser steps of a phase, instead of its epochs; 0 is by epochs
    weight_decay: float = 0.01  # not on biases and layer norms
    max_grad_norm: float = 1.0
    layer_map: str = "uniform"  # or the teacher block of each student block: "1,3,5"
    projection: str = "auto"  # per-layer, shared, none; auto is none where the widths agree, else per-layer
    heads: str = "match"  # or "mean": compare scores averaged over heads
    temperature: float = 1.0  # of both softmaxes in the prediction phase
    loss_scale: str = "valid"  # losses over what is valid; or "reference": the authors', over padding and classes too
    cache_teacher: bool = True  # its outputs once for each example, kept on disk; else anew in each prediction step
    eval_steps: int = 0  # steps between evaluations and checkpoints; 0 is once an epoch
    logging_steps: int = 50
    padding: str = "longest"  # of the batch; or "max_length"
    precision: str = "auto"  # bf16 where the hardware multiplies it, else float32
    teacher_precision: str = "auto"  # of the teacher that teaches: as precision; or "int8": 8-bit products
    seed: int = 42
    allow_weak_teacher: bool = False  # distil from a teacher at chance level

    teacher_phase: Training = field(default_factory=lambda: Training(3, 2e-5))
    intermediate: Training = field(default_factory=lambda: Training(20, 5e-5, "constant", 0.0))
    prediction: Training = field(default_factory=lambda: Training(3, 3e-5))
    # Not in the paper: the intermediate phase's rate with the prediction phase's schedule.
    baseline: Training = field(default_factory=lambda: Training(0, 5e-5))  # 0: the epochs of both distillation phases

    def training(self, phase: str) -> Training:
        """How the phase trains."""
        return getattr(self, "teacher_phase" if phase == "teacher" else phase)

    def to_dict(self) -> dict[str, Any]:
        """For --dry-run and the report."""
        return dataclasses.asdict(self)


_CHOICES = {
    "projection": ("auto", "per-layer", "shared", "none"),
    "heads": ("match", "mean"),
    "padding": ("longest", "max_length"),
    "loss_scale": ("valid", "reference"),
    "precision": ("auto", "bf16", "fp16", "float32"),
    "teacher_precision": ("auto", "int8"),
    "schedule": ("linear", "constant"),
}
_POSITIVE = ("max_length", "batch_size", "accumulate", "temperature", "epochs", "learning_rate", "logging_steps")
_NOT_NEGATIVE = ("max_steps", "weight_decay", "max_grad_norm", "eval_steps", "warmup", "seed")
# Beyond these training only ruins the student: AdamW moves each weight by about the learning rate in a step, and takes
# the rate's share of the decay off it; a softmax of such a temperature is a maximum, or the same for all labels.
_AT_MOST = {
    "seed": 2**32 - 1,  # numpy's
    "learning_rate": 1.0,
    "weight_decay": 1.0,
    "warmup": 1.0,
    "epochs": 10_000.0,
    "max_grad_norm": 1e6,
    "temperature": 1_000.0,
}
_AT_LEAST = {"temperature": 0.01}


def resolve(
    task: Task | str | None, recipe: Mapping[str, Any], flags: Mapping[str, Any], task_file: str | None = None
) -> tuple[Task, Settings]:
    """The task and the settings: its defaults, overridden by the recipe, overridden by the flags.

    The task is given, named, or that of the file, else the recipe's (`task` or `task_file`). Both maps hold fields of
    Settings, and below `teacher_phase` (in a recipe `[teacher]` may not stand for the phase, since `teacher` names the
    model), `intermediate`, `prediction` and `baseline` those of Training. Flags that are None were not given. Raises
    UserError for an unknown key, a wrong type or a value out of range.
    """
    if not (task or task_file):
        named: dict[str, str] = {}
        _merge(named, {key: recipe.get(key) for key in ("task", "task_file")}, Settings, "the recipe")
        task, task_file = named.get("task"), named.get("task_file")
    task = choose_task(task, task_file)
    values: dict[str, Any] = {
        "max_length": task.max_length,
        "teacher_phase": {"epochs": task.teacher_epochs, "learning_rate": task.teacher_learning_rate},
        "intermediate": {"epochs": task.intermediate_epochs, "learning_rate": task.intermediate_learning_rate},
        "prediction": {"epochs": task.prediction_epochs, "learning_rate": task.prediction_learning_rate},
        # Not in the paper: the intermediate phase's rate with the prediction phase's schedule.
        "baseline": {"learning_rate": task.intermediate_learning_rate},
    }
    for source, given in (("the recipe", recipe), ("the command line", flags)):
        _merge(values, given, Settings, source)
    values["task"], values["task_file"] = task.name, task_file or ""  # however they were written
    defaults = Settings(task.name)
    phases = {name: dataclasses.replace(getattr(defaults, name), **values.pop(name)) for name in _PHASE_FIELDS}
    if not phases["baseline"].epochs:
        both = phases["intermediate"].epochs + phases["prediction"].epochs
        phases["baseline"] = dataclasses.replace(phases["baseline"], epochs=both)
    settings = Settings(**values, **phases)
    for name, value in [*vars(settings).items(), *(pair for p in phases.values() for pair in vars(p).items())]:
        if value not in _CHOICES.get(name, (value,)):
            raise UserError(f"{name} is {value!r}; it can be {', '.join(_CHOICES[name])}")
        if (name in _POSITIVE and not value > 0) or (name in _NOT_NEGATIVE and not value >= 0):
            raise UserError(f"{name} is {value}; it must be {'more than 0' if name in _POSITIVE else '0 or more'}")
        if name in _AT_MOST and value > _AT_MOST[name]:
            raise UserError(f"{name} is {value}; it must be {_AT_MOST[name]:.10g} or less")
        if name in _AT_LEAST and value < _AT_LEAST[name]:
            raise UserError(f"{name} is {value}; it must be {_AT_LEAST[name]:.10g} or more")
    if settings.loss_scale == "reference" and settings.padding != "max_length":
        raise UserError(
            "loss_scale reference counts padding, and would depend on the sentences that share a batch; set padding to "
            "max_length with it"
        )
    return task, settings


_PHASE_FIELDS = ("teacher_phase", "intermediate", "prediction", "baseline")


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's settings; its `task` is among them, its `[expected]` figures are for the reader and left out.

    Raises UserError if the file is missing or no TOML.
    """
    try:
        with open(path, "rb") as file:
            recipe = tomllib.load(file)
    except FileNotFoundError:
        raise UserError(f"there is no recipe {path}") from None
    except IsADirectoryError:
        raise UserError(f"the recipe {path} is a folder; give --recipe a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the recipe {path} is not TOML: {error}") from None
    recipe.pop("expected", None)
    return recipe


def _merge(values: dict[str, Any], given: Mapping[str, Any], owner: type, source: str) -> None:
    """Lay `given` over `values`, whose keys are fields of the dataclass `owner`."""
    kinds = {f.name: f.type for f in dataclasses.fields(owner)}
    for key, value in given.items():
        if value is None:
            continue
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            raise UserError(
                f"{source} sets {key!r}, which is no setting{f'; did you mean {near[0]!r}?' if near else ''}"
            )
        if isinstance(value, Mapping) and kinds[key] is not Training:
            hint = "; did you mean [teacher_phase]?" if key == "teacher" else ""
            raise UserError(f"{source} has a table [{key}], but {key} is a single value{hint}")
        if isinstance(value, Mapping):
            _merge(values.setdefault(key, {}), value, Training, f"{source}, in [{key}],")
            continue
        kind = kinds[key]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise UserError(f"{source} sets {key} to {value!r}, which is not of type {getattr(kind, '__name__', kind)}")
        values[key] = value

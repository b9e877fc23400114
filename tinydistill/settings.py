"""Settings of a run: defaults, then the recipe, then the flags. An unknown key is an error."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.places import augmented_name, find_folder
from glue_tasks.task import Task
from glue_tasks.task_file import choose_task
from tinydistill import noise
from tinydistill.option_fields import COMMA, about, names_in
from tinydistill.options import Options, Training
from tinydistill.phases import ALL, OF_A_PHASE, PHASES, Phase, change_phase, check_phases
from tinydistill.text_task import ENCODER, MASKED_LM, is_text


@dataclass(frozen=True)
class Plan:
    """What is to be done, resolved."""

    task: Task
    options: Options
    phases: Mapping[str, Phase]  # those of the table and the recipe, with how they train
    all: tuple[str, ...]  # the names of those that --phase all runs
    parts: Mapping[str, "Plan"] = dataclasses.field(default_factory=dict)  # of several tasks: that of each by its name

    def to_dict(self) -> dict[str, Any]:
        """For --dry-run: options, and below each phase's table how it trains."""
        found = self.options.to_dict()
        for name in ("max_length", "train_file") if self.parts else ():
            found[name] = {task: getattr(part.options, name) for task, part in self.parts.items()}
        for name, phase in self.phases.items():
            entries = dataclasses.asdict(phase.training)
            if phase != dataclasses.replace(PHASES.get(name, Phase("", ())), training=phase.training):
                objectives = [objective.describe() for objective in phase.objectives]
                entries |= {"starts_from": phase.starts_from, "keeps": phase.keeps, "objectives": objectives}
            found[phase.table or name] = entries
        return found


def resolve(
    task: Task | str | Sequence[Task | str] | None,
    recipe: Mapping[str, Any],
    flags: Mapping[str, Any],
    task_file: str | None = None,
    options: type[Options] = Options,
    together: Sequence[Task] = (),
) -> Plan:
    """The task, the options and the phases: the task's defaults, overridden by the recipe, then by the flags.

    The task is given, named, or that of the file, else the recipe's (`task` or `task_file`). Both maps hold fields of
    `options`, and tables of phases by their names, with fields of Training, `objectives`, `starts_from` and `keeps`
    (in a recipe `[teacher]` may not stand for the phase, since `teacher` names the model: `[teacher_phase]`). A recipe
    may have phases of its own in `[phases.NAME]`, and list in `run` what --phase all runs. Flags that are None were not
    given. Of several tasks the plan has one of each among its parts. together: all tasks of a part's run.

    Raises UserError for an unknown key, a wrong type or a value out of range.
    """
    recipe = dict(recipe)
    if not (task or task_file):
        named: dict[str, str] = {}
        merge(named, {key: recipe.get(key) for key in ("task", "task_file")}, options, "the recipe")
        task, task_file = named.get("task"), named.get("task_file")
    if not isinstance(task, Task):
        names: Sequence[Task | str] = names_in(task) if isinstance(task, str) else tuple(task or ())
        if len(names) > 1:
            from tinydistill.multi_task.plan import resolve_several  # which resolves each task by this function

            return resolve_several(names, recipe, flags, task_file, options)
        task = names[0] if names else None
    chosen = task if isinstance(task, Task) and is_text(task) else choose_task(task, task_file)
    if len(names_in(chosen.name)) > 1 and not task_file:
        raise UserError(
            f"the task's name {chosen.name!r} has a comma, which stands between the names of several; choose another"
        )
    listed, own = recipe.pop("run", list(ALL)), recipe.pop("phases", {})
    phases = dict(PHASES)
    if not isinstance(own, Mapping) or not all(isinstance(table, Mapping) for table in own.values()):
        raise UserError("the recipe sets phases, which holds tables: write [phases.NAME]")
    for name in own:
        if name in TAKEN or name in {phase.table for phase in PHASES.values()} or not name.replace("-", "").isalnum():
            raise UserError(f"the recipe has a phase {name!r}; take another name, of letters, digits and hyphens")
        phases.setdefault(name, Phase(name, ()))
    tables = {phase.table or name: name for name, phase in phases.items()}

    values: dict[str, Any] = {"max_length": chosen.max_length}
    trainings: dict[str, dict[str, Any]] = {
        name: _published(phase, together or [chosen]) for name, phase in phases.items()
    }
    for source, given in (("the recipe", recipe), (_COMMAND_LINE, flags)):
        merge(values, {key: value for key, value in given.items() if key not in tables}, options, source, tables)
        for table, name in tables.items():
            if not isinstance(given.get(table, {}), Mapping):
                raise UserError(f"{source} sets {table} to {given[table]!r}, which is a phase: write a table [{table}]")
            within = {**given.get(table, {}), **(own.get(name, {}) if given is recipe else {})}
            where = f"{source}, in [{'phases.' if name in own else ''}{table}],"
            changes = {key: within[key] for key in OF_A_PHASE if within.get(key) is not None}
            phases[name] = change_phase(phases[name], changes, where)
            others = {key: value for key, value in within.items() if key not in OF_A_PHASE}
            merge(trainings[name], others, Training, where)
    for name, phase in phases.items():
        if phase.as_long_as and "epochs" not in trainings[name]:
            trainings[name]["epochs"] = sum(phases[other].training.epochs for other in phase.as_long_as)
        phases[name] = dataclasses.replace(phase, training=dataclasses.replace(phase.training, **trainings[name]))
        if not phase.objectives:
            raise UserError(f"the recipe's phase {name!r} has no objectives; list them: objectives = [...]")
        check_ranges(phases[name].training)
    check_phases(phases)
    if not (isinstance(listed, list) and listed and all(isinstance(name, str) for name in listed)):
        raise UserError(f'the recipe sets run to {listed!r}; it is a list of phases such as ["intermediate"]')
    if unknown := [name for name in listed if name not in phases]:
        raise UserError(f"the recipe's run lists {unknown[0]!r}, which is no phase; there are {', '.join(phases)}")
    # However they were written.
    values["task"] = COMMA.join(each.name for each in together or (chosen,))
    values["task_file"] = task_file or ""
    if "task_sampling" in values and not together:
        raise UserError(
            "task_sampling is for several tasks, and there is one; leave it out, or name others with --task"
        )
    if "doc_stride" in values and all(task.kind != "spans" for task in together or [chosen]):
        raise UserError(f"doc_stride is for questions about a text, and {chosen.name} has none; leave it out")
    if values.get("noise") and any(task.kind in _OF_PLACES for task in together or [chosen]):
        raise UserError(
            "noise moves the pieces of a text, and of tokens, spans and masked pieces places in it; leave it out"
        )
    if values.get("noise"):
        values["noise"] = noise.to_text(noise.parse(values["noise"]))
    settings = options(**values)
    check_ranges(settings)
    if settings.loss_scale == "reference" and settings.padding != "max_length":
        raise UserError(
            "loss_scale reference counts padding, and would depend on the sentences that share a batch; set padding to "
            "max_length with it"
        )
    return Plan(chosen, settings, phases, tuple(listed))


_OF_PLACES = ("tokens", "spans", MASKED_LM, ENCODER)  # kinds whose labels stand at places of a text

# Folders and files of a run, other values of --phase, and what a phase may start from.
TAKEN = {"all", "evaluate", "cache", "augment", "inputs", "student", "pretrained", *PHASES}
TAKEN |= {f"{name}.{ending}" for name in ("report", "sweep") for ending in ("md", "json", "html")}


def _published(phase: Phase, tasks: Sequence[Task]) -> dict[str, Any]:
    """The settings published for the task; of several the most epochs and the lowest rate."""
    found: dict[str, Any] = {}
    if phase.task_epochs:
        found["epochs"] = float(max(getattr(task, phase.task_epochs) for task in tasks))
    if phase.task_rate:
        found["learning_rate"] = min(getattr(task, phase.task_rate) for task in tasks)
    return found


def check_ranges(options: Options | Training) -> None:
    """Raises UserError if a value is none of the choices, or out of range."""
    for field, known in about(options):
        if wrong := known.check(field.name, getattr(options, field.name)):
            raise UserError(wrong)
    if isinstance(options, Training):
        _check_schedule(options)


def _check_schedule(training: Training) -> None:
    if training.schedule == "polynomial" and training.learning_rate <= _POLYNOMIAL_END:
        raise UserError(
            f"the schedule polynomial ends at a learning rate of {_POLYNOMIAL_END:g}, and learning_rate is "
            f"{training.learning_rate:g}; take a higher one, or another schedule"
        )


_POLYNOMIAL_END = 1e-7  # transformers' default


def with_augmented(task: Task, options: Options) -> Options:
    """--augmented as the file that it means. Raises UserError if it is not there, or another one is named too."""
    if not options.augmented:
        return options
    if options.augment:
        raise UserError("--augment makes the training file and --augmented takes one that is there; give one of them")
    if options.train_file:
        raise UserError("--augmented and --train-file both name the training data; give one of them")
    augmented = find_folder(task, Path(options.data_dir)) / augmented_name(task)
    if not augmented.is_file():
        which = f"--task-file {options.task_file}" if options.task_file else f"--task {task.name}"
        raise UserError(f"there is no file {augmented}; write it with `python -m augment {which}`")
    return dataclasses.replace(options, train_file=str(augmented))


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


def merge(
    values: dict[str, Any], given: Mapping[str, Any], owner: type, source: str, tables: Mapping[str, str] | None = None
) -> None:
    """Lay `given` over `values`, whose keys are fields of the dataclass `owner`."""
    fields = {field.name: known for field, known in about(owner) if known.in_recipe or source == _COMMAND_LINE}
    kinds = {field.name: type(field.default) for field in dataclasses.fields(owner) if field.name in fields}
    for key, value in given.items():
        if value is None:
            continue
        if key not in kinds:
            near = difflib.get_close_matches(
                key, [*kinds, *(tables or ()), *(OF_A_PHASE if tables is None else ())], n=1
            )
            raise UserError(
                f"{source} sets {key!r}, which is no setting{f'; did you mean {near[0]!r}?' if near else ''}"
            )
        if isinstance(value, Mapping):
            hint = "; did you mean [teacher_phase]?" if key == "teacher" else ""
            raise UserError(f"{source} has a table [{key}], but {key} is a single value{hint}")
        kind = kinds[key]
        if kind is float and type(value) is int:
            value = float(value)
        is_list = isinstance(value, list | tuple)
        if is_list and fields[key].several and value and all(isinstance(each, str) for each in value):
            value = COMMA.join(value)
        if kind is tuple:  # of texts, one of which may stand alone
            value = tuple(value) if is_list else (value,)
            if not all(isinstance(each, str) for each in value):
                raise UserError(f"{source} sets {key} to {list(value)!r}; it is a text in quotes, or a list of them")
        if type(value) is not kind:
            raise UserError(f"{source} sets {key} to {value!r}, which is not of type {kind.__name__}")
        values[key] = value


_COMMAND_LINE = "the command line"

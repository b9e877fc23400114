"""The models of a phase, made ready: loaded or built, checked against each other, tried, and what identifies them."""

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill import checks, label_order, layer_map, probe, processes
from tinydistill.encoders.config import load_config
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.precision import device, resolve
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.kinds import kind_of
from tinydistill.layer_map import LayerMap
from tinydistill.models import load_classifier, load_fine_tuned, meaning_of, weights_digest
from tinydistill.objectives import Objective
from tinydistill.objectives import resolve as resolve_objectives
from tinydistill.options import Options
from tinydistill.phases import PHASES, Phase
from tinydistill.runs import PhaseFolder
from tinydistill.students import StudentSpec, build_student, student_config


@dataclass(frozen=True)
class Prepared:
    """What a phase trains, and from what."""

    student: PreTrainedModel  # what is trained: in a phase that makes a teacher, that
    tokenizer: PreTrainedTokenizerBase
    objectives: tuple[Objective, ...]  # resolved
    identity: dict[str, Any]  # of the models, and of what was resolved for them
    teacher: PreTrainedModel | None = None
    spec: StudentSpec = field(default_factory=StudentSpec)
    layer_map: LayerMap = field(default_factory=lambda: LayerMap(()))
    notes: tuple[str, ...] = ()


def prepare(phase: Phase, task: Task, options: Options) -> Prepared:
    """Raises UserError if the models do not fit the task, the phase or each other, or do not work in the phase."""
    own = (options.pretrained,) if phase.makes_teacher else (options.teacher, options.student)
    PhaseFolder(Path(options.output_dir), phase.name).check_inputs(*own)
    return _prepare_teacher(phase, task, options) if phase.makes_teacher else _prepare_student(phase, task, options)


def _prepare_teacher(phase: Phase, task: Task, options: Options) -> Prepared:
    tokenizer = load_tokenizer(options.pretrained)
    set_seed(options.seed)  # of the fresh head
    model = load_classifier(options.pretrained, task, fresh_head=True)
    checks.check_positions(model, "model", options.max_length)
    checks.check_pieces(model.config, tokenizer, f"model {options.pretrained}")
    _try(phase, task, options, model.config)
    return Prepared(
        model,
        tokenizer,
        _resolved(phase, task, options),
        {"pretrained": options.pretrained, "pretrained_weights": weights_digest(model)},
        notes=tuple(head_of(options.pretrained, task)),
    )


def _prepare_student(phase: Phase, task: Task, options: Options) -> Prepared:
    teacher, notes = load_fine_tuned(options.teacher, task)
    tokenizer = load_tokenizer(options.teacher)
    teacher_weights = weights_digest(teacher)
    name, made_from = start_of(phase, task, options, teacher_weights)
    spec = StudentSpec.parse(name)
    maps = LayerMap(())
    if phase.uses_layer_map or spec.teacher_layers:
        maps = layer_map.choose(options.layer_map, teacher.config.num_hidden_layers, spec.num_layers())
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), name)
    student = build_student(spec, teacher, task, maps, options.seed)
    projection = _projection(options, teacher.config, student.config)
    objectives = _resolved(phase, task, options, projection, maps)
    checks.check_fit(objectives, teacher.config, student.config, options.max_length)
    checks.check_pieces(teacher.config, tokenizer, f"teacher {options.teacher}")
    checks.check_pieces(student.config, tokenizer, f"student {name}")
    _try(phase, task, options, student.config, teacher.config, maps)
    identity: dict[str, Any] = {"teacher": options.teacher, "teacher_weights": teacher_weights}
    identity |= {"student": made_from, "student_weights": weights_digest(student)}
    if phase.compares_layers:
        identity |= {"layer_map": list(maps.blocks), "projection": projection}
    return Prepared(
        student,
        tokenizer,
        objectives,
        identity,
        teacher,
        spec,
        maps,
        (*notes, _describe_start(spec, maps), *(head_of(spec.path, task) if spec.path else [])),
    )


def check_ahead(phases: list[Phase], task: Task, options: Options) -> None:
    """Raises UserError if the student will not fit the teacher, which may not be trained yet, or the teacher the task.

    `options.pretrained` or `options.teacher` and `options.student` are looked at. phases: those that will be run.
    """
    source = options.pretrained or options.teacher
    spec = StudentSpec.parse(options.student)
    if options.teacher_precision == "int8":
        int8.check_device(device())
    if not source:
        return
    kind = kind_of(task)
    config = load_config(source)
    own_head = kind.auto_model.__name__.removeprefix("AutoModel")  # "ForSequenceClassification"
    if not options.pretrained and any(own_head in name for name in config.architectures or ()):
        label_order.named_order(task, config, source)
    student = student_config(spec, config, task)
    config.update(kind.head())  # as its head will be, or is
    student.update(kind.head())
    maps = LayerMap(())
    if spec.teacher_layers or any(phase.uses_layer_map for phase in phases):
        maps = layer_map.choose(options.layer_map, config.num_hidden_layers, student.num_hidden_layers)
    projection = _projection(options, config, student)
    for phase in phases:
        if not phase.makes_teacher:
            resolved = _resolved(phase, task, options, projection, maps)
            checks.check_fit(resolved, config, student, options.max_length)
    if spec.path:
        checks.check_vocabulary(load_tokenizer(source), load_tokenizer(spec.path), spec.path)
    for phase in phases:
        if phase.makes_teacher:
            _try(phase, task, options, config)
        else:
            _try(phase, task, options, student, config, maps)


def _resolved(
    phase: Phase,
    task: Task,
    options: Options,
    projection: str = "none",
    maps: LayerMap = LayerMap(()),  # noqa: B008
) -> tuple[Objective, ...]:
    return resolve_objectives(
        phase.objectives,
        kind_of(task).losses,
        maps,
        projection,
        options.heads,
        options.temperature,
        options.loss_scale,
    )


def _try(
    phase: Phase,
    task: Task,
    options: Options,
    student: PreTrainedConfig,
    teacher: PreTrainedConfig | None = None,
    maps: LayerMap = LayerMap(()),  # noqa: B008 - frozen
) -> None:
    """Raises UserError if models of these configurations cannot do the phase."""
    projection = _projection(options, teacher, student) if teacher is not None else "none"
    objectives = _resolved(phase, task, options, projection, maps)
    teacher = teacher if phase.has_teacher else None
    copied = maps.blocks if StudentSpec.parse(options.student).teacher_layers else ()
    how = "bf16" if resolve(options.precision, device()) == "bf16" else "float32"
    # `--phase all` asks before the teacher is trained, and each phase before it begins.
    configs = [meaning_of(config) for config in (student, teacher) if config is not None]
    asked = repr((phase.name, options.max_length, objectives, copied, how, configs))
    if asked not in _TRIED:
        processes.from_first(
            lambda: probe.check_phase(
                phase, kind_of(task), objectives, student, teacher, options.max_length, copied, how
            )
        )
        _TRIED.add(asked)


_TRIED: set[str] = set()  # of this process


def _projection(options: Options, teacher: PreTrainedConfig, student: PreTrainedConfig) -> str:
    if options.projection != "auto":
        return options.projection
    return "none" if student.hidden_size == teacher.hidden_size else "per-layer"


def start_of(phase: Phase, task: Task, options: Options, teacher_weights: str) -> tuple[str, str]:
    """Where the phase's student comes from, and the student it began as.

    That of the phase it starts from in the same output folder, if there is one. Raises UserError if that is unfinished,
    or of another task, teacher or student.
    """
    first = PhaseFolder(Path(options.output_dir), phase.starts_from)
    record = first.read() if phase.starts_from != "student" else None
    if record is None or _same_place(options.student, str(first.path)):
        if not options.student:
            before = "" if phase.starts_from == "student" else f", or run --phase {phase.starts_from} first"
            raise UserError(f"no student is named; give one with --student{before}")
        return options.student, options.student if record is None else record["settings"]["student"]
    if record["state"] != "finished":
        raise UserError(
            f"{first.path} holds an unfinished {phase.starts_from} phase; finish it with --phase {phase.starts_from} "
            "--resume, or choose another --output-dir to go without one"
        )
    of = record["settings"]
    other = {
        f"made from {of['student']}, not from {options.student}": options.student
        and not _same_place(options.student, of["student"]),
        f"taught for {of['task']}, not for {task.name}": of["task"] != task.name,
        f"of the teacher {of['teacher']}, which is not {options.teacher}": of["teacher_weights"] != teacher_weights,
    }
    for difference, differs in other.items():
        if differs:
            raise UserError(f"{first.path} holds a student {difference}; choose another --output-dir")
    return str(first.path), of["student"]


def _same_place(name: str, other: str) -> bool:
    return name == other or (Path(name).exists() and bool(name) and Path(name).resolve() == Path(other).resolve())


def head_of(start: str, task: Task) -> list[str]:
    """A note if the head of a model that training starts from was in another order."""
    reordered = label_order.start_order(task, load_config(start), start)
    return [f"the head of {start} was put into the order of the task's labels"] if reordered else []


def _describe_start(spec: StudentSpec, maps: LayerMap) -> str:
    if spec.path:
        return f"the student starts from {spec.path}"
    if spec.shape:
        return f"the student has fresh weights ({', '.join(f'{v} {k}' for k, v in asdict(spec.shape).items())})"
    return f"the student copies blocks {', '.join(map(str, maps.blocks))} of the teacher"


def own_settings(phase: Phase) -> dict[str, Any]:
    """What a phase of a person's own has besides its training: how it differs from the table's."""
    built_in = PHASES.get(phase.name, dataclasses.replace(phase, objectives=(), starts_from="", keeps="best"))
    own: dict[str, Any] = {}
    if phase.objectives != built_in.objectives:
        own["objectives"] = [objective.describe() for objective in phase.objectives]
    for name in ("starts_from", "keeps"):
        if getattr(phase, name) != getattr(built_in, name):
            own[name] = getattr(phase, name)
    return own

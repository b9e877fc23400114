"""The models of a phase, made ready: loaded or built, checked against each other, tried, and what identifies them."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill import checks, label_order, layer_map, probe, processes
from tinydistill.chain import TEACHER, stage_options
from tinydistill.chain import parse as parse_chain
from tinydistill.corpus.settings import text_settings
from tinydistill.encoders.config import load_config
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.precision import device, resolve
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Batch
from tinydistill.layer_map import LayerMap
from tinydistill.models import load_classifier, load_fine_tuned, meaning_of, weights_digest
from tinydistill.objectives import Objective
from tinydistill.options import BY_DEV, Options
from tinydistill.phases import PHASES, Phase
from tinydistill.resolving import Sizes
from tinydistill.resolving import resolve as resolve_objectives
from tinydistill.runs import PhaseFolder
from tinydistill.settings import Plan
from tinydistill.students import StudentSpec, build_student, student_config

TrainRows = Callable[[PreTrainedTokenizerBase], Any]


@dataclass(frozen=True)
class Prepared:
    """What a phase trains, and from what."""

    student: PreTrainedModel  # what is trained: in a phase that makes a teacher, that
    tokenizer: PreTrainedTokenizerBase
    objectives: tuple[Objective, ...]  # resolved
    identity: dict[str, Any]  # of the models, and of what was resolved for them
    teachers: Mapping[str, PreTrainedModel] = field(default_factory=dict)  # by name, in their order
    digests: Mapping[str, str] = field(default_factory=dict)  # of each teacher's weights
    spec: StudentSpec = field(default_factory=StudentSpec)
    layer_map: LayerMap = field(default_factory=lambda: LayerMap(()))
    notes: tuple[str, ...] = ()


def prepare(phase: Phase, task: Task, options: Options, train_rows: TrainRows) -> Prepared:
    """The models. train_rows: what there is to train on, for a tokenizer; a student is narrowed by some of it.

    Raises UserError if the models do not fit the task, the phase or each other, or do not work in the phase.
    """
    own = (options.pretrained,) if phase.makes_teacher else (*options.teachers.values(), options.student)
    PhaseFolder(Path(options.output_dir), phase.name).check_inputs(*own)
    if phase.makes_teacher:
        return _prepare_teacher(phase, task, options)
    return _prepare_student(phase, task, options, train_rows)


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
        resolved(phase, task, options, model.config, {}),
        {"pretrained": options.pretrained, "pretrained_weights": weights_digest(model)},
        notes=tuple(head_of(options.pretrained, task)),
    )


def _prepare_student(phase: Phase, task: Task, options: Options, train_rows: TrainRows) -> Prepared:
    shares_of(options)  # said before a model is loaded
    set_seed(options.seed)  # of a teacher's pooler, which masked language models are saved without
    teachers, notes = {}, []
    for who, path in options.teachers.items():
        teachers[who], own_notes = load_fine_tuned(path, task)
        notes += own_notes
    first = next(iter(teachers.values()))
    tokenizer = common_tokenizer(options)
    digests = {who: weights_digest(teacher) for who, teacher in teachers.items()}
    name, made_from = start_of(phase, task, options, digest_of(digests))
    spec = StudentSpec.parse(name)
    maps = LayerMap(())
    if phase.uses_layer_map or spec.follows_layer_map:
        maps = layer_map.choose(options.layer_map, first.config.num_hidden_layers, spec.num_layers())
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), name)
    rows = lambda: _some_rows(train_rows(tokenizer), tokenizer)  # noqa: E731
    student = build_student(spec, first, task, maps, options.seed, rows)
    configs = {who: teacher.config for who, teacher in teachers.items()}
    objectives = resolved(phase, task, options, student.config, configs)
    checks.check_positions(student.config, "student", options.max_length)
    for who, config in configs.items():
        checks.check_positions(config, who, options.max_length)
        checks.check_pieces(config, tokenizer, f"teacher {options.teachers[who]}")
    checks.check_pieces(student.config, tokenizer, f"student {name}")
    _try(phase, task, options, student.config, configs, maps)
    identity: dict[str, Any] = {"teacher": names_of(options), "teacher_weights": digest_of(digests)}
    # Narrowed weights follow from all else, up to rounding, which another number of threads changes.
    identity |= {"student": made_from, "student_weights": "" if spec.narrow else weights_digest(student)}
    if phase.compares_layers:
        identity |= {"layer_map": list(maps.blocks), "projection": _projection(options, first.config, student.config)}
    return Prepared(
        student,
        tokenizer,
        objectives,
        identity,
        teachers,
        digests,
        spec,
        maps,
        (*notes, _describe_start(spec, maps), *(head_of(spec.path, task) if spec.path else [])),
    )


_NARROWING_ROWS, _NARROWING_PIECES = 128, 32


def _some_rows(train: Any, tokenizer: PreTrainedTokenizerBase) -> Batch:
    """The beginnings of training rows, evenly spread, by whose states a student is narrowed."""
    count = min(len(train), _NARROWING_ROWS)
    rows = [torch.tensor(train[i * len(train) // count]["input_ids"][:_NARROWING_PIECES]) for i in range(count)]
    masks = [torch.ones_like(row) for row in rows]
    ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id or 0)
    return {"input_ids": ids, "attention_mask": pad_sequence(masks, batch_first=True)}


def names_of(options: Options) -> str:
    """The teachers as a record has them."""
    return ", ".join(options.teachers.values())


def digest_of(digests: Mapping[str, str]) -> str:
    """That of the only teacher, or of all together."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("\0".join(f"{name} {digest}" for name, digest in digests.items()).encode()).hexdigest()


def common_tokenizer(options: Options) -> PreTrainedTokenizerBase:
    """The teachers' tokenizer: of several the one that gives most columns, such as segment ids.

    Raises UserError if they have different vocabularies.
    """
    (_, first), *others = found = [(path, load_tokenizer(path)) for path in options.teachers.values()]
    for path, other in others:
        checks.check_vocabulary(first, other, path, "teacher")
    return max((tokenizer for _, tokenizer in found), key=lambda tokenizer: len(tokenizer.model_input_names))


def check_ahead(phases: list[Phase], task: Task, options: Options) -> None:
    """Raises UserError if the student will not fit the teacher, which may not be trained yet, or the teacher the task.

    `options.pretrained` or `options.teacher` and `options.student` or `options.chain` are looked at. phases: those that
    will be run.
    """
    StudentSpec.parse(options.student)
    for phase in phases:
        if phase.reads_text:
            text_settings(phase, options)
    shares_of(options)
    if options.teacher_precision == "int8":
        int8.check_device(device())
    teachers = _teacher_configs(task, options)
    if not teachers:
        return
    tokenizer = load_tokenizer(options.pretrained) if options.pretrained else common_tokenizer(options)
    of_students = [phase for phase in phases if not phase.makes_teacher]
    for own, student, configs in _stages(phases, task, options, teachers):
        _check_pair(of_students, task, own, student, configs, tokenizer)
    for phase in phases:
        if phase.makes_teacher:
            _try(phase, task, options, next(iter(teachers.values())))


def _check_pair(
    phases: Sequence[Phase],
    task: Task,
    options: Options,
    student: PreTrainedConfig,
    configs: Mapping[str, PreTrainedConfig],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Raises UserError if the student will not fit its teachers in the phases."""
    spec, first = StudentSpec.parse(options.student), next(iter(configs.values()))
    maps = LayerMap(())
    if spec.follows_layer_map or any(phase.uses_layer_map for phase in phases):
        maps = layer_map.choose(options.layer_map, first.num_hidden_layers, student.num_hidden_layers)
    for phase in phases:
        resolved(phase, task, options, student, configs)
        checks.check_positions(student, "student", options.max_length)
        for name, config in configs.items():
            checks.check_positions(config, name, options.max_length)
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), spec.path)
    for phase in phases:
        _try(phase, task, options, student, configs, maps)


def _stages(
    phases: Sequence[Phase], task: Task, options: Options, teachers: Mapping[str, PreTrainedConfig]
) -> Iterator[tuple[Options, PreTrainedConfig, Mapping[str, PreTrainedConfig]]]:
    """Of each stage of a run its settings, and the configurations of its student and teachers, as they will be."""
    for own in stage_options(options, phases[-1].name):
        student = student_config(StudentSpec.parse(own.student), next(iter(teachers.values())), task)
        student.update(kind_of(task).head())  # as its head will be, or is
        yield own, student, teachers
        teachers = {TEACHER: student}


def _teacher_configs(task: Task, options: Options) -> dict[str, PreTrainedConfig]:
    """The configuration of each teacher by name, as it will be.

    Raises UserError if a teacher's labels are not the task's.
    """
    sources = {"teacher": options.pretrained} if options.pretrained else options.teachers
    kind = kind_of(task)
    configs = {name: load_config(source) for name, source in sources.items()}
    own_head = kind.auto_model.__name__.removeprefix("AutoModel")  # "ForSequenceClassification"
    for name, config in configs.items():
        if not options.pretrained and any(own_head in architecture for architecture in config.architectures or ()):
            label_order.named_order(task, config, sources[name])
        config.update(kind.head())
    return configs


def preview(phases: Sequence[Phase], plan: Plan) -> dict[str, Any]:
    """For --dry-run: the settings, and `resolved_objectives` where student and teacher are named."""
    filled = _filled(phases, plan)
    return plan.to_dict() | ({"resolved_objectives": filled} if filled else {})


def _filled(phases: Sequence[Phase], plan: Plan) -> dict[str, Any]:
    """The objectives of phases with all that is left open filled in; of several tasks those of each."""
    if plan.parts:
        return {task: _filled(phases, part) for task, part in plan.parts.items()}
    task, options = plan.task, plan.options
    if not (options.student or options.chain) or not (options.teachers or options.pretrained):
        return {}
    of_students = [phase for phase in phases if not phase.makes_teacher]
    if not of_students:
        return {}
    found = []
    for own, student, configs in _stages(phases, task, options, _teacher_configs(task, options)):
        of_phases = {each.name: resolved(each, task, own, student, configs) for each in of_students}
        found.append({name: [each.describe() for each in filled] for name, filled in of_phases.items()})
    stages = [stage.title for stage in parse_chain(options.chain)] if options.chain else []
    return dict(zip(stages, found, strict=True)) if stages else found[0]


def resolved(
    phase: Phase,
    task: Task,
    options: Options,
    student: PreTrainedConfig,
    teachers: Mapping[str, PreTrainedConfig],
    shares: Mapping[str, float] | None = None,
) -> tuple[Objective, ...]:
    """The phase's objectives for these models. shares: what each teacher counts. Raises UserError."""
    sizes = {name: Sizes.of(config) for name, config in teachers.items()}
    shares = shares or shares_of(options)
    return resolve_objectives(phase.objectives, kind_of(task).losses, Sizes.of(student), sizes, options, shares)


def shares_of(options: Options, reached: Mapping[str, float] | None = None) -> dict[str, float]:
    """What each teacher counts, by name; they sum to 1. reached: how far each is above chance on dev.

    Raises UserError if the weights are not one for each teacher, or none is above 0.
    """
    names, text = list(options.teachers), options.teacher_weights
    if not names:  # it will be the run's own
        return {}
    weights = [1.0] * len(names)
    if text == BY_DEV and reached:
        weights = [max(reached[name], 0.0) for name in names]
    elif text and text != BY_DEV:
        try:
            weights = [float(part) for part in text.split(",")]
        except ValueError:
            raise UserError(f"--teacher-weights is {text!r}; it is dev, or numbers such as 0.7,0.3") from None
    if len(weights) != len(names):
        raise UserError(
            f"--teacher-weights has {len(weights)} numbers for the teachers {', '.join(names)}; give each one number"
        )
    total = sum(weights)
    if not 0 < total < float("inf") or min(weights) < 0:
        raise UserError(
            f"--teacher-weights {text or 'of the teachers'} are {', '.join(f'{each:g}' for each in weights)}; "
            "none may be below 0, and not all 0"
        )
    return {name: weight / total for name, weight in zip(names, weights, strict=True)}


def _try(
    phase: Phase,
    task: Task,
    options: Options,
    student: PreTrainedConfig,
    teachers: Mapping[str, PreTrainedConfig] | None = None,
    maps: LayerMap = LayerMap(()),  # noqa: B008 - frozen
) -> None:
    """Raises UserError if models of these configurations cannot do the phase."""
    teachers = (teachers or {}) if phase.has_teacher else {}
    objectives = resolved(phase, task, options, student, teachers)
    copied = StudentSpec.parse(options.student).copied(maps)
    how = "bf16" if resolve(options.precision, device()) == "bf16" else "float32"
    # `--phase all` asks before the teacher is trained, and each phase before it begins.
    configs = [meaning_of(config) for config in (student, *teachers.values())]
    again = options.gradient_checkpointing
    asked = repr((phase.name, options.max_length, objectives, copied, how, again, configs))
    if asked not in _TRIED:
        processes.from_first(
            lambda: probe.check_phase(
                phase, kind_of(task), objectives, student, teachers, options.max_length, copied, how, again
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
    is_one_of_several = len(options.tasks) > 1
    folder = first.path / task.name if is_one_of_several else first.path
    if record is None or _same_place(options.student, str(folder)):
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
    tasks = options.task if is_one_of_several else task.name
    digest = of.get(f"{task.name}_teacher_weights" if is_one_of_several else "teacher_weights")
    other = {
        f"made from {of['student']}, not from {options.student}": options.student
        and not _same_place(options.student, of["student"]),
        f"taught for {of['task']}, not for {tasks}": of["task"] != tasks,
        f"of the teacher {of['teacher']}, which is not {names_of(options)}": digest != teacher_weights,
    }
    for difference, differs in other.items():
        if differs:
            raise UserError(f"{first.path} holds a student {difference}; choose another --output-dir")
    return str(folder), of["student"]


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
        return f"the student has fresh weights ({spec.shape})"
    blocks = ", ".join(map(str, spec.copied(maps)))
    return f"the student copies blocks {blocks} of the teacher" + (", narrowed" if spec.narrow else "")


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

"""What each phase trains, from what, with which objectives.

| phase        | starts from            | learns from                       | keeps               |
|--------------|------------------------|-----------------------------------|---------------------|
| teacher      | a pretrained model     | gold labels                       | best on dev         |
| intermediate | the student            | scores and hidden states          | the last checkpoint |
| prediction   | phase 1's student      | the teacher's outputs             | best on dev         |
| baseline     | the student            | gold labels, no teacher           | best on dev         |
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel, set_seed

from glue_tasks.errors import UserError
from glue_tasks.metrics import score
from glue_tasks.task import Task
from tinydistill import checks, label_order, layer_map, objectives, probe, processes
from tinydistill.activations import doubt_of_values
from tinydistill.data import column
from tinydistill.distiller import Distiller
from tinydistill.encoders import precision
from tinydistill.encoders.config import load_config
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.precision import device
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.label_order import label_options
from tinydistill.models import load_classifier, load_fine_tuned, meaning_of, weights_digest
from tinydistill.phase_run import PhaseRun, Start
from tinydistill.runs import PhaseFolder
from tinydistill.settings import Settings
from tinydistill.students import StudentSpec, build_student, load_projections, student_config

_CALIBRATION_ROWS, _CALIBRATION_BATCH = 256, 32  # of a teacher in 8 bits


def train_teacher(task: Task, settings: Settings, start: Start) -> Path:
    """Fine-tune `settings.pretrained` on the task; returns the teacher's folder."""
    PhaseFolder(Path(settings.output_dir), "teacher").check_inputs(pretrained=settings.pretrained)
    tokenizer = load_tokenizer(settings.pretrained)
    phase = PhaseRun("teacher", task, settings, start, tokenizer)
    set_seed(settings.seed)  # of the fresh head
    model = load_classifier(settings.pretrained, task, fresh_head=True)
    checks.check_positions(model, "model", settings.max_length)
    checks.check_pieces(model.config, tokenizer, f"model {settings.pretrained}")
    _try_phase("teacher", task, settings, model.config)
    identity = {"pretrained": settings.pretrained, "pretrained_weights": weights_digest(model)}
    with phase.folder.held():
        if phase.look(identity) != "finished":
            notes = _head_of(settings.pretrained, task)
            phase.train(Distiller(model, objectives.gold_labels(task)), teacher=None, notes=notes)
    return phase.folder.path


def check_ahead(task: Task, settings: Settings) -> None:
    """Raises UserError if the student will not fit the teacher, which may not be trained yet, or the teacher the task.

    `settings.pretrained` or `settings.teacher` and `settings.student` are looked at.
    """
    source = settings.pretrained or settings.teacher
    spec = StudentSpec.parse(settings.student)
    if settings.teacher_precision == "int8":
        int8.check_device(device())
    if not source:
        return
    config = load_config(source)
    if not settings.pretrained and any("SequenceClassification" in name for name in config.architectures or ()):
        label_order.named_order(task, config, source)
    student = student_config(spec, config, task)
    config.update(label_options(task))  # as its head will be, or is
    student.update(label_options(task))
    maps = layer_map.choose(settings.layer_map, config.num_hidden_layers, student.num_hidden_layers)
    checks.check_fit(config, student, _projection(settings, config, student), settings.heads, settings.max_length)
    if spec.path:
        checks.check_vocabulary(load_tokenizer(source), load_tokenizer(spec.path), spec.path)
    if settings.pretrained:
        _try_phase("teacher", task, settings, config)
    for name in ("intermediate", "prediction"):
        _try_phase(name, task, settings, student, config, maps)


def _try_phase(
    name: str,
    task: Task,
    settings: Settings,
    student: PreTrainedConfig,
    teacher: PreTrainedConfig | None = None,
    maps: layer_map.LayerMap | None = None,
) -> None:
    """Raises UserError if models of these configurations cannot do the phase."""
    options: dict[str, Any] = {}
    if maps and StudentSpec.parse(settings.student).teacher_layers:
        options["copied"] = maps.blocks
    if precision.resolve(settings.precision, device()) == "bf16":
        options["precision"] = "bf16"
    if name == "intermediate":
        assert maps is not None
        assert teacher is not None
        compared = objectives.intermediate(maps, settings.loss_scale)
        options |= {"projection": _projection(settings, teacher, student), "heads": settings.heads}
    elif name == "prediction":
        compared = objectives.prediction(task, settings.temperature, settings.loss_scale)
    else:
        compared, teacher = objectives.gold_labels(task), None
    # `--phase all` asks before the teacher is trained, and each phase before it begins.
    configs = [meaning_of(config) for config in (student, teacher) if config is not None]
    asked = repr((name, settings.max_length, options, maps, configs))
    if asked not in _TRIED:
        processes.from_first(
            lambda: probe.check_phase(name, compared, student, teacher, settings.max_length, **options)
        )
        _TRIED.add(asked)


_TRIED: set[str] = set()  # of this process


def _projection(settings: Settings, teacher: PreTrainedConfig, student: PreTrainedConfig) -> str:
    if settings.projection != "auto":
        return settings.projection
    return "none" if student.hidden_size == teacher.hidden_size else "per-layer"


def train_student(name: str, task: Task, settings: Settings, start: Start) -> Path:
    """Run `intermediate`, `prediction` or `baseline`; returns the student's folder."""
    PhaseFolder(Path(settings.output_dir), name).check_inputs(teacher=settings.teacher, student=settings.student)
    teacher, notes = load_fine_tuned(settings.teacher, task)
    tokenizer = load_tokenizer(settings.teacher)
    teacher_weights = weights_digest(teacher)
    student_name, made_from = _student_of(name, task, settings, teacher_weights)
    spec = StudentSpec.parse(student_name)
    distils_layers = name == "intermediate"
    maps = layer_map.LayerMap(())
    if distils_layers or spec.teacher_layers:
        maps = layer_map.choose(settings.layer_map, teacher.config.num_hidden_layers, spec.num_layers())
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), student_name)
    student = build_student(spec, teacher, task, maps, settings.seed)
    projection = _projection(settings, teacher.config, student.config)
    checks.check_fit(
        teacher.config,
        student.config,
        projection if distils_layers else "per-layer",
        settings.heads if distils_layers else "mean",
        settings.max_length,
    )
    checks.check_pieces(teacher.config, tokenizer, f"teacher {settings.teacher}")
    checks.check_pieces(student.config, tokenizer, f"student {student_name}")
    _try_phase(name, task, settings, student.config, teacher.config, maps)

    phase = PhaseRun(name, task, settings, start, tokenizer)
    identity: dict[str, Any] = {"teacher": settings.teacher, "teacher_weights": teacher_weights}
    identity |= {"student": made_from, "student_weights": weights_digest(student)}
    if distils_layers:
        identity |= {"layer_map": list(maps.blocks), "heads": settings.heads, "projection": projection}
    elif name == "prediction":
        identity |= {"temperature": settings.temperature, "cache_teacher": settings.cache_teacher}
    in_8_bits = name != "baseline" and settings.teacher_precision == "int8"
    if name != "baseline":
        identity |= {"loss_scale": settings.loss_scale}
        identity |= {"teacher_precision": "int8" if in_8_bits else "auto"}
    with phase.folder.held():
        if phase.look(identity) != "finished":
            notes += [_what_it_is(spec, maps), *(_head_of(spec.path, task) if spec.path else [])]
            teacher.to(device())
            if in_8_bits:  # before its dev score is looked at, which is then that of the teacher that teaches
                notes.append(_use_int8(teacher, phase))
            notes += _check_teacher(task, teacher, settings, phase)
            if name == "intermediate":
                compared = objectives.intermediate(maps, settings.loss_scale)
                distiller = Distiller(student, compared, teacher.config.hidden_size, projection, settings.heads)
                phase.train(distiller, teacher, notes + _warm_start(distiller, spec.path))
            elif name == "prediction":
                if settings.cache_teacher:
                    phase.add_teacher_logits(teacher)
                compared = objectives.prediction(task, settings.temperature, settings.loss_scale)
                distiller = Distiller(student, compared)
                phase.train(distiller, None if settings.cache_teacher else teacher, notes)
            else:
                phase.train(Distiller(student, objectives.gold_labels(task)), None, notes)
    return phase.folder.path


def _student_of(phase: str, task: Task, settings: Settings, teacher_weights: str) -> tuple[str, str]:
    """Where the phase's student comes from, and the student it began as.

    The prediction phase takes up the student of the intermediate phase in the same output folder, if there is one.
    Raises UserError if that is unfinished, or of another task, teacher or student.
    """
    first = PhaseFolder(Path(settings.output_dir), "intermediate")
    record = first.read() if phase == "prediction" else None
    if record is None or _same_place(settings.student, str(first.path)):
        if not settings.student:
            raise UserError("no student is named; give one with --student, or run --phase intermediate first")
        return settings.student, settings.student if record is None else record["settings"]["student"]
    if record["state"] != "finished":
        raise UserError(
            f"{first.path} holds an unfinished intermediate phase; finish it with --phase intermediate --resume, or "
            "choose another --output-dir to go without one"
        )
    of = record["settings"]
    other = {
        f"made from {of['student']}, not from {settings.student}": settings.student
        and not _same_place(settings.student, of["student"]),
        f"taught for {of['task']}, not for {task.name}": of["task"] != task.name,
        f"of the teacher {of['teacher']}, which is not {settings.teacher}": of["teacher_weights"] != teacher_weights,
    }
    for difference, differs in other.items():
        if differs:
            raise UserError(f"{first.path} holds a student {difference}; choose another --output-dir")
    return str(first.path), of["student"]


def _same_place(name: str, other: str) -> bool:
    return name == other or (Path(name).exists() and bool(name) and Path(name).resolve() == Path(other).resolve())


def _head_of(start: str, task: Task) -> list[str]:
    """A note if the head of a model that training starts from was in another order."""
    reordered = label_order.start_order(task, load_config(start), start)
    return [f"the head of {start} was put into the order of the task's labels"] if reordered else []


def _what_it_is(spec: StudentSpec, maps: layer_map.LayerMap) -> str:
    if spec.path:
        return f"the student starts from {spec.path}"
    if spec.shape:
        return f"the student has fresh weights ({', '.join(f'{v} {k}' for k, v in asdict(spec.shape).items())})"
    return f"the student copies blocks {', '.join(map(str, maps.blocks))} of the teacher"


def _use_int8(teacher: PreTrainedModel, phase: PhaseRun) -> str:
    """A note; the rows to calibrate on are spread evenly over the train split, whatever the order of the batches."""
    train = phase.data.train
    rows = np.linspace(0, len(train) - 1, min(len(train), _CALIBRATION_ROWS)).astype(int).tolist()
    starts = range(0, len(rows), _CALIBRATION_BATCH)
    batches = [phase.data.collate(train.__getitems__(rows[start : start + _CALIBRATION_BATCH])) for start in starts]
    print("teacher in 8 bits: looking at its inputs and compiling, up to half a minute")
    largest = processes.from_first(lambda: int8.largest_inputs(teacher, batches, phase.precision))
    int8.quantise(teacher, largest, phase.precision)
    return f"the teacher's blocks multiply in 8 bits, scaled by their largest inputs on {len(rows)} training rows"


def _check_teacher(task: Task, teacher: PreTrainedModel, settings: Settings, phase: PhaseRun) -> list[str]:
    """Notes about the teacher's dev score; stops at a teacher that knows nothing, or whose labels mean other ones."""
    dev = phase.data.main_dev
    outputs = predict(teacher, dev, phase.data.collate, phase.precision, title="teacher on dev", shared=True)
    references = column(dev, "labels")
    unnamed = label_order.is_unnamed(task, teacher, settings.teacher)
    order = label_order.check_order(task, settings.teacher, outputs, references, unnamed)
    if order:
        print(f"note: {order}")  # also where the next check ends the run
    warning = checks.check_score(task, settings.teacher, outputs, references, not settings.allow_weak_teacher)
    values = doubt_of_values(task, f"the teacher {settings.teacher}", outputs, references)
    if values and not settings.allow_weak_teacher:
        raise UserError(f"{values}; or distil from it all the same with --allow-weak-teacher")
    doubt = label_order.doubt(task, settings.teacher, outputs, references) if unnamed else ""
    if doubt and not settings.allow_weak_teacher:
        raise UserError(
            f"{doubt}; name them, in the order of its outputs, in the id2label of its config.json, or take them as "
            "they stand with --allow-weak-teacher"
        )
    reached = ", ".join(f"{name} {value:.4f}" for name, value in score(task, outputs, references).items())
    print(f"teacher on dev: {reached}")
    return [note for note in (warning, order, values, doubt) if note]


def _warm_start(distiller: Distiller, student: str) -> list[str]:
    """Load the projections that were saved beside the student, where their sizes fit."""
    own = distiller.projections.state_dict()
    found = load_projections(student) if student and own else {}
    if not found:
        return []
    if found.keys() == own.keys() and all(found[key].shape == own[key].shape for key in own):
        distiller.projections.load_state_dict(found)
        return [f"the projections start from those saved with {student}"]
    return [f"the projections saved with {student} do not fit and were left out"]

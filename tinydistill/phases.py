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
from transformers import PreTrainedModel, set_seed

from glue_tasks.errors import UserError
from glue_tasks.metrics import score
from glue_tasks.task import Task
from tinydistill import checks, layer_map, objectives
from tinydistill.distiller import Distiller
from tinydistill.evaluation import predict
from tinydistill.models import (
    StudentSpec,
    build_student,
    load_classifier,
    load_projections,
    load_tokenizer,
    weights_digest,
)
from tinydistill.phase_run import PhaseRun, Start
from tinydistill.precision import device
from tinydistill.runs import PhaseFolder
from tinydistill.settings import Settings


def train_teacher(task: Task, settings: Settings, start: Start) -> Path:
    """Fine-tune `settings.pretrained` on the task; returns the teacher's folder."""
    tokenizer = load_tokenizer(settings.pretrained)
    phase = PhaseRun("teacher", task, settings, start, tokenizer)
    identity = {"pretrained": settings.pretrained}
    if phase.look(identity) != "finished":
        set_seed(settings.seed)  # of the fresh head
        model = load_classifier(settings.pretrained, task, fresh_head=True)
        checks.check_fit(model, model, "per-layer", "match", settings.max_length)
        phase.train(Distiller(model, objectives.gold_labels(task)), teacher=None, notes=[])
    return phase.folder.path


def train_student(name: str, task: Task, settings: Settings, start: Start) -> Path:
    """Run `intermediate`, `prediction` or `baseline`; returns the student's folder."""
    teacher = load_classifier(settings.teacher, task, fresh_head=False)
    checks.check_labels(task, teacher, settings.teacher)
    tokenizer = load_tokenizer(settings.teacher)
    student_name, made_from = _student_of(name, settings)
    spec = StudentSpec.parse(student_name)
    distils_layers = name == "intermediate"
    maps = layer_map.LayerMap(())
    if distils_layers or spec.teacher_layers:
        maps = layer_map.choose(settings.layer_map, teacher.config.num_hidden_layers, spec.num_layers())
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), student_name)
    student = build_student(spec, teacher, task, maps, settings.seed)
    projection = settings.projection
    if projection == "auto":
        projection = "none" if student.config.hidden_size == teacher.config.hidden_size else "per-layer"
    checks.check_fit(
        teacher,
        student,
        projection if distils_layers else "per-layer",
        settings.heads if distils_layers else "mean",
        settings.max_length,
    )
    if student.config.vocab_size < len(tokenizer):
        raise UserError(
            f"the student {student_name} has {student.config.vocab_size} pieces, the tokenizer {len(tokenizer)}"
        )

    phase = PhaseRun(name, task, settings, start, tokenizer)
    identity: dict[str, Any] = {"teacher": settings.teacher, "teacher_weights": weights_digest(teacher)}
    identity |= {"student": made_from, "student_weights": weights_digest(student)}
    if distils_layers:
        identity |= {"layer_map": list(maps.blocks), "heads": settings.heads, "projection": projection}
    elif name == "prediction":
        identity |= {"temperature": settings.temperature}
    if phase.look(identity) == "finished":
        return phase.folder.path

    notes = [] if spec.path else [_what_it_is(spec, maps)]
    teacher.to(device())
    notes += _check_teacher(task, teacher, settings, phase)
    if name == "baseline":
        distiller = Distiller(student, objectives.gold_labels(task))
        phase.train(distiller, teacher=None, notes=notes)
    elif name == "prediction":
        distiller = Distiller(student, objectives.prediction(task, settings.temperature))
        phase.add_teacher_logits(teacher)
        phase.train(distiller, teacher=None, notes=notes)
    else:
        distiller = Distiller(
            student, objectives.intermediate(maps), teacher.config.hidden_size, projection, settings.heads
        )
        notes += _warm_start(distiller, spec.path)
        phase.train(distiller, teacher=teacher, notes=notes)
    return phase.folder.path


def _student_of(phase: str, settings: Settings) -> tuple[str, str]:
    """Where the phase's student comes from, and the student it began as.

    The prediction phase takes up the student of the intermediate phase in the same output folder, if there is one.
    """
    first = PhaseFolder(Path(settings.output_dir), "intermediate")
    if phase == "prediction" and first.is_finished and Path(settings.student) != first.path:
        began_as = (first.read() or {})["settings"]["student"]
        if settings.student and settings.student != began_as:
            raise UserError(
                f"{first.path} holds a student made from {began_as}, not from {settings.student}; leave --student out "
                "to go on with it, or choose another --output-dir"
            )
        return str(first.path), began_as
    if not settings.student:
        raise UserError("no student is named; give one with --student, or run --phase intermediate first")
    return settings.student, settings.student


def _what_it_is(spec: StudentSpec, maps: layer_map.LayerMap) -> str:
    if spec.shape:
        return f"the student has fresh weights ({', '.join(f'{v} {k}' for k, v in asdict(spec.shape).items())})"
    return f"the student copies blocks {', '.join(map(str, maps.blocks))} of the teacher"


def _check_teacher(task: Task, teacher: PreTrainedModel, settings: Settings, phase: PhaseRun) -> list[str]:
    """Notes about the teacher's dev score; stops at a teacher that knows nothing."""
    dev = phase.data.main_dev
    outputs = predict(teacher, dev, phase.data.collate, phase.precision, title="teacher on dev")
    references = np.array(dev["labels"])
    warning = checks.check_score(task, settings.teacher, outputs, references, not settings.allow_weak_teacher)
    reached = ", ".join(f"{name} {value:.4f}" for name, value in score(task, outputs, references).items())
    print(f"teacher on dev: {reached}")
    return [warning] if warning else []


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

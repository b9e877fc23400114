"""What each phase trains, from what, with which objectives.

| phase        | starts from            | learns from                       | keeps               |
|--------------|------------------------|-----------------------------------|---------------------|
| teacher      | a pretrained model     | gold labels                       | best on dev         |
| intermediate | the student            | scores and hidden states          | the last checkpoint |
| prediction   | phase 1's student      | the teacher's outputs             | best on dev         |
| baseline     | the student            | gold labels, no teacher           | best on dev         |
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from datasets import Dataset, concatenate_datasets
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments

from glue_tasks.errors import UserError
from glue_tasks.files import find_file, open_table
from glue_tasks.metrics import score
from glue_tasks.task import Task
from tinydistill import checks, layer_map, objectives, precision
from tinydistill.data import Collator, encode, file_digest
from tinydistill.distiller import Distiller
from tinydistill.evaluation import evaluate, predict
from tinydistill.models import (
    StudentSpec,
    build_student,
    load_classifier,
    load_projections,
    load_tokenizer,
    weights_digest,
)
from tinydistill.progress import Progress
from tinydistill.runs import PhaseFolder
from tinydistill.settings import Settings
from tinydistill.trainer import DistillationTrainer


def device() -> torch.device:
    """Where models run: the accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


@dataclass
class Data:
    """A task's encoded splits: `train` and each dev split by name."""

    task: Task
    train_path: Path
    train: Dataset
    dev: dict[str, Dataset]
    collate: Collator

    @property
    def main_dev(self) -> Dataset:
        """The split that selects the checkpoint."""
        return self.dev[self.task.dev_splits[0]]

    def describe(self) -> dict[str, Any]:
        """Rows read and rows cut at the maximum length, for the report."""
        splits = {"train": self.train, **self.dev}
        return {name: {"rows": len(data), "cut": int(np.sum(data["cut"]))} for name, data in splits.items()}


def load_data(task: Task, settings: Settings, tokenizer: PreTrainedTokenizerBase) -> Data:
    """Encode the train and dev splits; the Arrow files lie in `<output-dir>/cache`."""
    train_path = Path(settings.train_file) if settings.train_file else find_file(task, Path(settings.data_dir), "train")
    cache = Path(settings.output_dir) / "cache"
    return Data(
        task,
        train_path,
        encode(open_table(task, train_path, "train"), tokenizer, settings.max_length, cache),
        load_dev(task, settings, tokenizer),
        Collator(tokenizer, settings.max_length if settings.padding == "max_length" else None),
    )


def load_dev(task: Task, settings: Settings, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """Encode the dev splits alone."""
    cache = Path(settings.output_dir) / "cache"
    tables = {s: open_table(task, find_file(task, Path(settings.data_dir), s), s) for s in task.dev_splits}
    return {split: encode(table, tokenizer, settings.max_length, cache) for split, table in tables.items()}


@dataclass(frozen=True)
class Start:
    """`--resume` and `--overwrite`: what to do with a folder that already holds a run."""

    resume: bool = False
    overwrite: bool = False


def train_teacher(task: Task, settings: Settings, start: Start) -> Path:
    """Fine-tune `settings.pretrained` on the task; returns the teacher's folder."""
    tokenizer = load_tokenizer(settings.pretrained)
    phase = _Phase("teacher", task, settings, start, tokenizer)
    identity = {"pretrained": settings.pretrained}
    if phase.look(identity) != "finished":
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
    maps = layer_map.choose(settings.layer_map, teacher.config.num_hidden_layers, spec.num_layers())
    if spec.path:
        checks.check_vocabulary(tokenizer, load_tokenizer(spec.path), student_name)
    student = build_student(spec, teacher, task, maps, settings.seed)
    projection = settings.projection
    if projection == "auto":
        projection = "none" if student.config.hidden_size == teacher.config.hidden_size else "per-layer"
    distils_layers = name == "intermediate"
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

    phase = _Phase(name, task, settings, start, tokenizer)
    identity: dict[str, Any] = {"teacher": settings.teacher, "teacher_weights": weights_digest(teacher)}
    identity |= {"student": made_from, "student_weights": weights_digest(student)}
    if name != "baseline":
        identity |= {"layer_map": list(maps.blocks), "heads": settings.heads, "temperature": settings.temperature}
    if distils_layers:
        identity |= {"projection": projection}
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


def _check_teacher(task: Task, teacher: PreTrainedModel, settings: Settings, phase: "_Phase") -> list[str]:
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


# Settings that decide the result of every phase.
_OF_EVERY_PHASE = (
    "task",
    "train_file",
    "max_length",
    "batch_size",
    "accumulate",
    "max_steps",
    "weight_decay",
    "max_grad_norm",
    "eval_steps",
    "logging_steps",
    "padding",
    "seed",
)


class _Phase:
    """One phase in its folder: the data, the training loop's arguments, and what is saved at the end."""

    def __init__(self, name: str, task: Task, settings: Settings, start: Start, tokenizer: PreTrainedTokenizerBase):
        self.name, self.task, self.settings, self.start, self.tokenizer = name, task, settings, start, tokenizer
        self.folder = PhaseFolder(Path(settings.output_dir), name)
        self.training = settings.training(name)
        self.precision = precision.resolve(settings.precision, device())
        self.data = load_data(task, settings, tokenizer)

    def look(self, identity: dict[str, Any]) -> str:
        """What the folder holds of a run with these settings, the models of which are in `identity`."""
        dev_paths = [find_file(self.task, Path(self.settings.data_dir), split) for split in self.task.dev_splits]
        settings = {name: getattr(self.settings, name) for name in _OF_EVERY_PHASE}
        settings |= {"phase": self.name, "precision": self.precision, **asdict(self.training), **identity}
        settings |= {"data": {path.name: file_digest(path) for path in (self.data.train_path, *dev_paths)}}
        self.identity = settings
        self.state = self.folder.look(settings, self.start.resume, self.start.overwrite)
        if self.state == "finished":
            print(f"{self.name}: already finished with these settings in {self.folder.path}")
        return self.state

    def add_teacher_logits(self, teacher: PreTrainedModel) -> None:
        """The teacher works once: its outputs on the train split become a column, kept on disk."""
        key = f"{weights_digest(teacher)[:16]}-{self.data.train._fingerprint}-{self.precision}"
        path = Path(self.settings.output_dir) / "cache" / f"teacher-logits-{key}.arrow"
        if not path.exists():
            outputs = predict(teacher, self.data.train, self.data.collate, self.precision, title="teacher's logits")
            partial = path.with_suffix(".partial")
            try:
                with ArrowWriter(path=str(partial)) as writer:
                    writer.write_batch({"teacher_logits": outputs})
                    writer.finalize()
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        self.data = replace(
            self.data, train=concatenate_datasets([self.data.train, Dataset.from_file(str(path))], axis=1)
        )

    def train(self, distiller: Distiller, teacher: PreTrainedModel | None, notes: list[str]) -> None:
        """Train, keep the best or the last student, and mark the folder as finished."""
        if self.state == "new":
            self.folder.begin(self.identity)
        for note in notes:
            print(f"note: {note}")
        keeps_best = self.name != "intermediate"
        trainer = DistillationTrainer(
            distiller,
            teacher,
            self._arguments(keeps_best),
            self.data.train,
            self.data.main_dev,
            self.data.collate,
            self._score() if keeps_best else None,
        )
        trainer.remove_callback(PrinterCallback)  # prints every log entry as a dict
        trainer.add_callback(Progress(self.name))
        started = time.perf_counter()
        checkpoint = self.folder.last_checkpoint() if self.state == "continue" else None
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.perf_counter() - started
        save_student(distiller, self.tokenizer, self.folder.path)
        history = trainer.state.log_history
        self.folder.finish(
            {
                "notes": notes,
                "data": self.data.describe(),
                "steps": result.global_step,
                "seconds": round(seconds, 1),
                "resumed": checkpoint is not None,
                "best_step": trainer.state.best_global_step if keeps_best else None,
                "dev": _without_prefix(_best(history, trainer.state.best_global_step) if keeps_best else history),
                "losses": [entry for entry in history if "loss" in entry],
            }
        )

    def _score(self) -> Callable[[PreTrainedModel], dict[str, float]]:
        data = self.data
        return lambda student: evaluate(self.task, student, data.main_dev, data.collate, self.precision)

    def _arguments(self, keeps_best: bool) -> TrainingArguments:
        settings, training = self.settings, self.training
        every = "steps" if settings.eval_steps else "epoch"
        return TrainingArguments(
            output_dir=str(self.folder.checkpoints),
            num_train_epochs=training.epochs,
            max_steps=settings.max_steps or -1,
            learning_rate=training.learning_rate,
            lr_scheduler_type=training.schedule,
            warmup_steps=training.warmup,
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            bf16=self.precision == "bf16",
            use_cpu=device().type == "cpu",
            seed=settings.seed,
            eval_strategy=every,
            save_strategy=every,
            eval_steps=settings.eval_steps or None,
            save_steps=settings.eval_steps or 500,
            save_total_limit=1,
            load_best_model_at_end=keeps_best,
            metric_for_best_model=f"eval_{self.task.main_metric}" if keeps_best else None,
            greater_is_better=True if keeps_best else None,
            logging_steps=settings.logging_steps,
            remove_unused_columns=False,
            dataloader_pin_memory=device().type == "cuda",
            disable_tqdm=True,
            report_to="none",
            log_level="error",
        )


def save_student(distiller: Distiller, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save the student as a plain transformers model, and the projections beside it for a later phase."""
    distiller.student.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if distiller.projections:
        safetensors.torch.save_file(distiller.projections.state_dict(), str(folder / "projections.safetensors"))


def _best(history: list[dict], step: int | None) -> list[dict]:
    return [entry for entry in history if entry["step"] == step]


def _without_prefix(entries: list[dict]) -> dict[str, float]:
    """The last evaluation among log entries, without the Trainer's `eval_`."""
    scored = [e for e in entries if any(name.startswith("eval_") for name in e)]
    return {
        name.removeprefix("eval_"): value
        for name, value in (scored[-1] if scored else {}).items()
        if name[:5] == "eval_"
    }

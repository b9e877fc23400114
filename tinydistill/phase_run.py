"""One phase in its folder: what identifies it, the training itself, and what is saved."""

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from glue_tasks.digests import describe_reading
from glue_tasks.errors import UserError
from glue_tasks.places import find_file
from glue_tasks.seals import fingerprint
from glue_tasks.task import Task
from tinydistill import checks, processes
from tinydistill.distiller import Distiller
from tinydistill.encoders import precision
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import device
from tinydistill.encoders.recompute import recompute_activations
from tinydistill.ensemble import BY_LABEL, Ensemble
from tinydistill.evaluation import evaluate, predict
from tinydistill.extra_tasks import extra_tasks
from tinydistill.intervals import EarlyStopping, ShareOfEpoch
from tinydistill.kinds import kind_of
from tinydistill.label_order import is_unnamed
from tinydistill.noisy_data import NoisyDataset
from tinydistill.objectives import Objective
from tinydistill.options import BY_DEV, Options, identity
from tinydistill.phases import Phase
from tinydistill.preparation import own_settings, prepare, resolved, shares_of
from tinydistill.progress import JsonLines, Progress
from tinydistill.runs import PhaseFolder
from tinydistill.saving import Checkpoints, save_student
from tinydistill.students import load_projections
from tinydistill.task_data import Data, load_data
from tinydistill.teacher_logits import teacher_logits
from tinydistill.teachers import CachedTeachers, LiveTeacher, NoTeacher, Teachers, TeacherSignal, logits_column
from tinydistill.trackers import trackers
from tinydistill.trainer import DistillationTrainer, not_finite

_CALIBRATION_ROWS, _CALIBRATION_BATCH = 256, 32  # of a teacher in 8 bits


class PhaseRun:
    """One phase in its folder: the data, the teacher's work, the training, and what is saved at the end."""

    def __init__(self, phase: Phase, task: Task, options: Options, callbacks: Sequence[TrainerCallback] = ()):
        self.phase, self.task, self.options, self.callbacks = phase, task, options, callbacks
        self.kind = kind_of(task)
        self.folder = PhaseFolder(Path(options.output_dir), phase.name)
        self.precision = precision.resolve(options.precision, device())

    def run(self) -> Path:
        """Train what is not trained yet; returns the folder of the model. Raises UserError if anything does not fit."""
        self.prepare()
        self.identity = self._identity()
        with self.folder.locked():
            look = lambda: self.folder.compare(self.identity, self.options.resume, self.options.overwrite)  # noqa: E731
            self.state = processes.from_first(look)
            if self.state == "finished":
                print(f"{self.phase.name}: already finished with these settings in {self.folder.path}")
            else:
                self._train()
        return self.folder.path

    def prepare(self, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        """Models and data. tokenizer: another one of the same vocabulary. Raises UserError if anything does not fit."""
        load = functools.cache(self._load_data)  # a narrower student is made of some of its rows
        self.prepared = prepare(self.phase, self.task, self.options, lambda own: load(own).train)
        self.tokenizer = tokenizer or self.prepared.tokenizer
        keep_freed_memory()
        self.data = load(self.tokenizer)

    def _load_data(self, tokenizer: PreTrainedTokenizerBase) -> Data:
        return processes.after_first(lambda: load_data(self.kind, self.options, tokenizer, self.phase.needs_labels))

    def _identity(self) -> dict[str, Any]:
        """All that decides the result: settings as they were resolved, models and files by their content."""
        return {**self._settings(), **self.sources()}

    def _settings(self) -> dict[str, Any]:
        settings = {"train_file": self.options.train_file, **identity(self.options, self.phase.uses)}
        settings |= {"phase": self.phase.name, "precision": self.precision, **asdict(self.phase.training)}
        settings |= {**own_settings(self.phase), "processes": processes.count()}
        if shares := settings.pop("teacher_weights", ""):  # the name of the digest of the teachers' own weights
            settings["teacher_shares"] = shares
        return settings | ({"task_file": self.options.task_file} if self.options.task_file else {})

    def sources(self) -> dict[str, Any]:
        """Models and files by their content, and how they are read."""
        folder = Path(self.options.data_dir)
        own, *others = self.data.train_paths
        paths = {
            "train": self.data.train_paths[own],
            **{f"extra_{name}": self.data.train_paths[name] for name in others},
        }
        paths |= {split: find_file(self.task, folder, split) for split in self.task.dev_splits}
        digests = {f"{split}_data": fingerprint(path)["sha256"] for split, path in paths.items()}
        for other in extra_tasks(self.task, self.options.extra_task):
            digests |= {f"extra_{other.name}_{key}": value for key, value in describe_reading(other).items()}
        return {**self.prepared.identity, **describe_reading(self.task), **digests}

    def _train(self) -> None:
        """Train, keep the best or the last student, and mark the folder as finished."""
        self._run_trainer(*self.make_ready())

    def make_ready(self) -> tuple[Distiller, TeacherSignal, list[str]]:
        """The student with its objectives, what it is compared with, and notes."""
        if self.options.gradient_checkpointing:
            recompute_activations(self.prepared.student)
        notes = list(self.prepared.notes)
        teachers, objectives, ensemble = self.prepared.teachers, self.prepared.objectives, None
        if teachers:
            reached: dict[str, float] = {}
            for name, teacher in teachers.items():
                notes += self._ready(name, teacher, reached)
            shares = shares_of(self.options, reached)
            if len(teachers) > 1:
                counts = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
                notes.append(f"the teachers count: {counts}")
            configs = {name: teacher.config for name, teacher in teachers.items()}
            objectives = resolved(self.phase, self.task, self.options, self.prepared.student.config, configs, shares)
            ensemble = Ensemble(shares, self.options.teacher_mean, self.kind.losses.get("logits") == BY_LABEL)
        widths = {name: teacher.config.hidden_size for name, teacher in teachers.items()}
        distiller = Distiller(self.prepared.student, objectives, widths, self.kind.outputs, ensemble)
        notes += _warm_start(distiller, self.prepared.spec.path)
        signal = self._signal(teachers, objectives)
        if self._noise and self.phase.needs_outputs_alone and self.options.cache_teacher:
            notes.append("the teachers run in each step, for --noise changes the texts in each epoch")
        # What the signal does not need of the teachers' memory is free for the training.
        self.prepared = replace(self.prepared, teachers={})
        return distiller, signal, notes

    @property
    def _noise(self) -> str:
        """Of a phase without a teacher none: gold labels are not those of a noised text."""
        return self.options.noise if self.phase.has_teacher else ""

    def train_rows(self) -> Dataset | NoisyDataset:
        train, seed = self.data.train, self.options.seed
        return NoisyDataset(train, self._noise, self.tokenizer, seed) if self._noise else train

    @property
    def _in_8_bits(self) -> bool:
        return self.phase.has_teacher and self.options.teacher_precision == "int8"

    def _ready(self, name: str, teacher: PreTrainedModel, reached: dict[str, float]) -> list[str]:
        """Notes about a teacher, which is moved to where it runs, brought to its precision, and looked at on dev.

        reached: gets how far it is above chance.
        """
        teacher.to(device())
        # In 8 bits before its dev score is looked at, which is then that of the teacher that teaches.
        in_8_bits = [self._use_int8(teacher)] if self._in_8_bits else []
        notes, reached[name] = self._check_teacher(name, teacher)
        return [*in_8_bits, *notes]

    def _signal(self, teachers: Mapping[str, PreTrainedModel], objectives: Sequence[Objective]) -> TeacherSignal:
        if not teachers or not self.phase.has_teacher:
            return NoTeacher()
        if self.phase.needs_outputs_alone and self.options.cache_teacher and not self._noise:
            # Each part by itself: what is kept of one serves in another run too.
            parts = {name: self._with_logits(teachers, part) for name, part in self.data.train_parts.items()}
            # Without a score the losses on dev are what is measured, which need the teachers' outputs there too.
            main = self.task.dev_splits[0]
            dev = {} if self.phase.keeps_best else {main: self._with_logits(teachers, self.data.main_dev)}
            self.data = replace(self.data, train_parts=parts, dev={**self.data.dev, **dev})
            return CachedTeachers(teachers)
        live = [LiveTeacher(each, objectives, self.precision, device(), name) for name, each in teachers.items()]
        return live[0] if len(live) == 1 else Teachers(live)

    def _run_trainer(self, distiller: Distiller, signal: TeacherSignal, notes: list[str]) -> None:
        if self.state == "new":
            processes.from_first(lambda: self.folder.begin(self.identity))
        processes.check_shared(self.folder.path)
        for note in notes:
            print(f"note: {note}")
        keeps_best = self.phase.keeps_best
        trainer = self._trainer(distiller, signal)
        trainer.remove_callback(PrinterCallback)  # prints every log entry as a dict
        if processes.index():
            torch.manual_seed(self.options.seed + processes.index())  # or dropout would be the same in all processes
        started = time.perf_counter()
        checkpoint = processes.from_first(self._last_checkpoint) if self.state == "continue" else None
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.perf_counter() - started
        history = trainer.state.log_history
        dev = _without_prefix(_best(history, trainer.state.best_global_step) if keeps_best else history)
        stopped_early = result.global_step < trainer.state.max_steps
        if stopped_early:
            notes.append(self._tell_stop(result.global_step, trainer.state.max_steps))
        measured = {
            "notes": notes + self._doubts,
            "steps": result.global_step,
            "epochs": trainer.state.epoch,
            "stopped_early": stopped_early,
            "seconds": round(seconds, 1),
            "resumed": checkpoint is not None,
            "best_step": trainer.state.best_global_step if keeps_best else None,
            "dev": dev,
            "losses": [entry for entry in history if "loss" in entry],
            "evaluations": [{"step": entry["step"], **own} for entry in history if (own := _without_prefix([entry]))],
        }
        self._keep(distiller, dev)
        processes.wait()  # until all have read the best checkpoint, which goes with the others
        processes.from_first(lambda: self._finish(distiller, measured))

    def _trainer(self, distiller: Distiller, signal: TeacherSignal) -> DistillationTrainer:
        return DistillationTrainer(
            distiller,
            signal,
            args=self._arguments(),
            data_collator=self.data.collate,
            train_dataset=self.train_rows(),
            eval_dataset=self.data.main_dev,
            score=self.score if self.phase.keeps_best else None,
            callbacks=self._all_callbacks(),
        )

    def _all_callbacks(self) -> list[TrainerCallback]:
        """Checkpoints comes last: it looks at what the others ask for, and seals what they wrote."""
        shown = (JsonLines if self.options.log_format == "json" else Progress)(self.phase.name)
        return [*self._intervals(), *self.callbacks, shown, Checkpoints(self.folder)]

    @property
    def _doubts(self) -> list[str]:
        """About the data, for the record."""
        return self.data.doubts

    @property
    def _main_metric(self) -> str:
        return self.task.main_metric

    def _keep(self, distiller: Distiller, dev: Mapping[str, float]) -> None:
        """Note in the student's configuration what its answers depend on besides its outputs."""
        self.kind.keep(distiller.student.config, dev)

    def _intervals(self) -> list[TrainerCallback]:
        """What evaluates several times an epoch, and what stops early, where that is asked for."""
        share, patience = self.options.eval_steps, self.options.patience
        found: list[TrainerCallback] = [ShareOfEpoch(share, self._steps_per_epoch)] if 0 < share < 1 else []
        return found + ([EarlyStopping(patience, self._main_metric)] if patience and self.phase.keeps_best else [])

    @property
    def _steps_per_epoch(self) -> int:
        examples = self.options.batch_size * self.options.accumulate * processes.count()  # of a step
        return math.ceil(len(self.data.train) / examples)

    def _tell_stop(self, step: int, steps: int) -> str:
        """A note, which is printed too."""
        patience = self.options.patience
        why = f"{patience} evaluation{'s' * (patience > 1)} without a better {self._main_metric}"
        note = f"stopped early, at step {step:,} of {steps:,}, after {why if patience else 'a callback asked for it'}"
        print(f"note: {self.phase.name} {note}")
        return note

    def _use_int8(self, teacher: PreTrainedModel) -> str:
        """A note; the rows to calibrate on are spread evenly over the train split, in any order of the batches."""
        train = self.data.train
        rows = np.linspace(0, len(train) - 1, min(len(train), _CALIBRATION_ROWS)).astype(int).tolist()
        starts = range(0, len(rows), _CALIBRATION_BATCH)
        batches = [self.data.collate(train.__getitems__(rows[start : start + _CALIBRATION_BATCH])) for start in starts]
        print("teacher in 8 bits: looking at its inputs and compiling, up to half a minute")
        largest = processes.from_first(lambda: int8.largest_inputs(teacher, batches, self.precision))
        int8.quantise(teacher, largest, self.precision)
        return f"the teacher's blocks multiply in 8 bits, scaled by their largest inputs on {len(rows)} training rows"

    def _check_teacher(self, who: str, teacher: PreTrainedModel) -> tuple[list[str], float]:
        """Notes about a teacher on dev, and how far its score is above chance.

        Stops at a teacher that knows nothing, or whose labels mean other ones.
        """
        dev, name = self.data.main_dev, self.options.teachers[who]
        outputs = predict(
            teacher, dev, self.data.collate, self.precision, title="teacher on dev", shared=True, kept=self.kind.outputs
        )
        unnamed = is_unnamed(self.task, teacher, name)
        doubts = self.kind.doubts(name, outputs, dev, unnamed)
        for note in doubts.notes:
            print(f"note: {note}")  # also where the next check ends the run
        allowed = self.options.allow_weak_teacher
        warning = checks.check_score(self.kind, name, outputs, dev, not allowed)
        if doubts.serious and not allowed:
            raise UserError(f"{doubts.serious[0]}; or distil from it all the same with --allow-weak-teacher")
        scores = self.kind.score(outputs, dev)
        print(f"{who} on dev: {', '.join(f'{metric} {value:.4f}' for metric, value in scores.items())}")
        # Of spans it takes as long as a score.
        chance = self.kind.chance(dev) if self.options.teacher_weights == BY_DEV else 0.0
        above = scores[self.task.main_metric] - chance
        return [note for note in (warning, *doubts.notes, *doubts.serious) if note], above

    def _with_logits(self, teachers: Mapping[str, PreTrainedModel], data: Dataset) -> Dataset:
        """Teachers work once: their outputs on a split are columns, kept on disk."""
        columns = []
        for who, teacher in teachers.items():
            # In 8 bits what the teacher gives depends on the kind of processor.
            name = self.prepared.digests[who][:16] + (f"-int8-{int8.steps()}" if self._in_8_bits else "")
            prepare_products(teacher, self.precision)
            made = teacher_logits(
                teacher, name, data, self.data.collate, self.precision, self.options.cache, self.kind.outputs
            )
            (saved,) = made.column_names
            columns.append(made if saved == logits_column(who) else made.rename_column(saved, logits_column(who)))
        return concatenate_datasets([data, *columns], axis=1)

    def _last_checkpoint(self) -> Path | None:
        if checkpoint := self.folder.last_checkpoint():
            self.folder.go_back_to(checkpoint)
        return checkpoint

    def _finish(self, distiller: Distiller, measured: dict[str, Any]) -> None:
        if name := not_finite(distiller):
            raise UserError(
                f"training diverged: the weights {name} are not finite at its end; start over with a lower "
                "--learning-rate and --overwrite"
            )
        self._save(distiller)
        self.folder.finish({"data": self._describe_data(), **measured})

    def _save(self, distiller: Distiller) -> None:
        save_student(distiller, self.tokenizer, self.options.max_length, self.folder.path)

    def _describe_data(self) -> dict[str, Any]:
        return self.data.describe()

    def score(self, student: PreTrainedModel) -> dict[str, float]:
        return evaluate(self.kind, student, self.data.main_dev, self.data.collate, self.precision)

    def _arguments(self) -> TrainingArguments:
        settings, training, keeps_best = self.options, self.phase.training, self.phase.keeps_best
        steps = settings.max_steps or math.ceil(training.epochs * self._steps_per_epoch)
        every = "steps" if settings.eval_steps else "epoch"
        interval = int(settings.eval_steps) or steps  # the Trainer's own; a share of an epoch has a callback
        arguments = TrainingArguments(
            output_dir=str(self.folder.checkpoints),
            num_train_epochs=training.epochs,
            max_steps=settings.max_steps or -1,
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant_with_warmup" if training.schedule == "constant" else training.schedule,
            warmup_steps=training.warmup if training.warmup < 1 else steps,  # a share below 1, else a number of steps
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            bf16=self.precision == "bf16",
            fp16=self.precision == "fp16",
            use_cpu=device().type == "cpu",
            ddp_find_unused_parameters=False,  # what no objective reaches is frozen
            seed=settings.seed,
            eval_strategy=every,
            save_strategy=every,
            eval_steps=interval,
            save_steps=interval,
            load_best_model_at_end=keeps_best,
            metric_for_best_model=f"eval_{self._main_metric}" if keeps_best else None,
            greater_is_better=True if keeps_best else None,
            logging_steps=min(settings.logging_steps, steps),  # a short run has losses to report too
            remove_unused_columns=False,
            dataloader_pin_memory=device().type == "cuda",
            disable_tqdm=True,
            report_to=trackers(self.options.report_to),
            run_name=self.phase.name,
            logging_nan_inf_filter=False,  # which would log a loss that is not finite as 0
            log_level="error",
        )
        arguments.mixed_precision = (
            self.precision if self.precision != "float32" else "no"
        )  # whatever `accelerate launch` was told
        return arguments


def _warm_start(distiller: Distiller, student: str) -> list[str]:
    """Load the projections that were saved beside the student, where their shapes match."""
    own = distiller.projections.state_dict()
    found = load_projections(student) if student and own else {}
    if not found:
        return []
    if {key.partition(".")[0] for key in found} == {"0"}:  # one for all, as of a general distillation
        found = {key: found[f"0.{key.partition('.')[2]}"] for key in own if f"0.{key.partition('.')[2]}" in found}
    if found.keys() == own.keys() and all(found[key].shape == own[key].shape for key in own):
        distiller.projections.load_state_dict(found)
        return [f"the projections start from those saved with {student}"]
    return [f"the projections saved with {student} do not fit and were left out"]


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

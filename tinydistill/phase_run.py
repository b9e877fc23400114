"""One phase in its folder: what identifies it, the training itself, and what is saved."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from datasets import concatenate_datasets
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from glue_tasks.errors import UserError
from glue_tasks.places import find_file
from glue_tasks.reading import describe_reading
from glue_tasks.seals import fingerprint
from glue_tasks.task import Task
from tinydistill import processes
from tinydistill.distiller import Distiller
from tinydistill.encoders import precision
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import device
from tinydistill.evaluation import evaluate
from tinydistill.progress import Progress
from tinydistill.runs import PhaseFolder
from tinydistill.settings import Settings
from tinydistill.task_data import load_data
from tinydistill.teacher_logits import teacher_logits
from tinydistill.trainer import DistillationTrainer, not_finite


@dataclass(frozen=True)
class Start:
    """`--resume` and `--overwrite`: what to do with a folder that already holds a run."""

    resume: bool = False
    overwrite: bool = False


# Settings that decide the result of every phase.
_OF_EVERY_PHASE = (
    "task",
    "train_file",
    "skip_bad_rows",
    "max_length",
    "batch_size",
    "accumulate",
    "max_steps",
    "weight_decay",
    "max_grad_norm",
    "eval_steps",
    "padding",
    "seed",
)


class PhaseRun:
    """One phase in its folder: the data, the training loop's arguments, and what is saved at the end."""

    def __init__(self, name: str, task: Task, settings: Settings, start: Start, tokenizer: PreTrainedTokenizerBase):
        self.name, self.task, self.settings, self.start, self.tokenizer = name, task, settings, start, tokenizer
        self.folder = PhaseFolder(Path(settings.output_dir), name)
        self.training = settings.training(name)
        self.precision = precision.resolve(settings.precision, device())
        keep_freed_memory()
        needs_labels = name not in ("intermediate", "prediction")  # which learn from the teacher alone
        self.data = processes.after_first(lambda: load_data(task, settings, tokenizer, needs_labels))

    def look(self, identity: dict[str, Any]) -> str:
        """What the folder holds of a run with these settings, the models of which are in `identity`."""
        folder = Path(self.settings.data_dir)
        paths = {"train": self.data.train_path}
        paths |= {split: find_file(self.task, folder, split) for split in self.task.dev_splits}
        settings = {name: getattr(self.settings, name) for name in _OF_EVERY_PHASE}
        settings |= {"phase": self.name, "precision": self.precision, **asdict(self.training), **identity}
        settings |= {"processes": processes.count()}
        settings |= describe_reading(self.task)
        if self.settings.task_file:
            settings |= {"task_file": self.settings.task_file}
        settings |= {f"{split}_data": fingerprint(path)["sha256"] for split, path in paths.items()}
        self.identity = settings
        self.state = processes.from_first(lambda: self.folder.look(settings, self.start.resume, self.start.overwrite))
        if self.state == "finished":
            print(f"{self.name}: already finished with these settings in {self.folder.path}")
        return self.state

    def add_teacher_logits(self, teacher: PreTrainedModel) -> None:
        """The teacher works once: its outputs on the train split become a column, kept on disk."""
        processes.from_first(self.folder.take_lock)  # or two runs would clear away each other's parts
        in_8_bits = self.identity["teacher_precision"] == "int8"
        name = self.identity["teacher_weights"][:16] + ("-int8" if in_8_bits else "")
        prepare_products(teacher, self.precision)
        cache = Path(self.settings.output_dir) / "cache"
        logits = teacher_logits(teacher, name, self.data.train, self.data.collate, self.precision, cache)
        self.data = replace(self.data, train=concatenate_datasets([self.data.train, logits], axis=1))

    def train(self, distiller: Distiller, teacher: PreTrainedModel | None, notes: list[str]) -> None:
        """Train, keep the best or the last student, and mark the folder as finished."""
        if self.state == "new":
            processes.from_first(lambda: self.folder.begin(self.identity))
        processes.check_shared(self.folder.path)
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
        if processes.index():
            torch.manual_seed(self.settings.seed + processes.index())  # or dropout would be the same in all processes
        trainer.remove_callback(PrinterCallback)  # prints every log entry as a dict
        trainer.add_callback(Progress(self.name))
        trainer.add_callback(_Checkpoints(self.folder))
        started = time.perf_counter()
        checkpoint = processes.from_first(self._last_checkpoint) if self.state == "continue" else None
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.perf_counter() - started
        history = trainer.state.log_history
        measured = {
            "notes": notes + self.data.doubts,
            "steps": result.global_step,
            "seconds": round(seconds, 1),
            "resumed": checkpoint is not None,
            "best_step": trainer.state.best_global_step if keeps_best else None,
            "dev": _without_prefix(_best(history, trainer.state.best_global_step) if keeps_best else history),
            "losses": [entry for entry in history if "loss" in entry],
        }
        processes.wait()  # until all have read the best checkpoint, which goes with the others
        processes.from_first(lambda: self._finish(distiller, measured))

    def _last_checkpoint(self) -> Path | None:
        if checkpoint := self.folder.last_checkpoint():
            self.folder.go_back_to(checkpoint)
        return checkpoint

    def _finish(self, distiller: Distiller, measured: dict[str, Any]) -> None:
        if name := not_finite(distiller):
            raise UserError(
                f"training diverged: the weights {name} are not finite at its end; start anew with a lower "
                "--learning-rate and --overwrite"
            )
        save_student(distiller, self.tokenizer, self.settings.max_length, self.folder.path)
        self.folder.finish({"data": self.data.describe(), **measured})

    def _score(self) -> Callable[[PreTrainedModel], dict[str, float]]:
        data = self.data
        return lambda student: evaluate(self.task, student, data.main_dev, data.collate, self.precision)

    def _arguments(self, keeps_best: bool) -> TrainingArguments:
        settings, training = self.settings, self.training
        per_epoch = math.ceil(len(self.data.train) / (settings.batch_size * settings.accumulate * processes.count()))
        steps = settings.max_steps or math.ceil(training.epochs * per_epoch)
        every = "steps" if settings.eval_steps else "epoch"
        arguments = TrainingArguments(
            output_dir=str(self.folder.checkpoints),
            num_train_epochs=training.epochs,
            max_steps=settings.max_steps or -1,
            learning_rate=training.learning_rate,
            lr_scheduler_type=training.schedule,
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
            eval_steps=settings.eval_steps or None,
            save_steps=settings.eval_steps or 500,
            load_best_model_at_end=keeps_best,
            metric_for_best_model=f"eval_{self.task.main_metric}" if keeps_best else None,
            greater_is_better=True if keeps_best else None,
            logging_steps=min(settings.logging_steps, steps),  # a short run has losses to report too
            remove_unused_columns=False,
            dataloader_pin_memory=device().type == "cuda",
            disable_tqdm=True,
            report_to="none",
            logging_nan_inf_filter=False,  # which would log a loss that is not finite as 0
            log_level="error",
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # one device a process: no DataParallel without a launcher
        arguments.mixed_precision = (
            self.precision if self.precision != "float32" else "no"
        )  # whatever `accelerate launch` was told
        return arguments


class _Checkpoints(TrainerCallback):
    """Seals each checkpoint when it is written, and finds the best one also where the folder was moved."""

    def __init__(self, folder: PhaseFolder):
        self.folder = folder

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log |= control.should_save  # or a resumed run would log the mean of some of the steps

    on_epoch_end = on_step_end

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        processes.from_first(lambda: self.folder.seal_checkpoint(state.global_step))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if state.best_global_step:  # the Trainer noted a path
            state.best_model_checkpoint = str(self.folder.checkpoints / f"checkpoint-{state.best_global_step}")


def save_student(distiller: Distiller, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
    """Save the student as a plain transformers model, and the projections beside it for a later phase.

    Its tokenizer cuts at the length of the training, and pads and cuts only when asked to, whatever call came last.
    """
    distiller.student.save_pretrained(folder)
    own = copy.deepcopy(tokenizer)
    own.model_max_length = max_length
    own.backend_tokenizer.no_truncation()
    own.backend_tokenizer.no_padding()
    own.save_pretrained(folder)
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

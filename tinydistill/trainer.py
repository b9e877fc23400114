"""DistillationTrainer: transformers' Trainer with a teacher beside the student.

The Trainer keeps its own work: accumulation, clipping, precision, checkpoints, resuming, several devices.
Reference: https://huggingface.co/docs/transformers/main_classes/trainer
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import PredictionOutput, TrainOutput

from glue_tasks.errors import UserError
from tinydistill import in_memory, processes
from tinydistill.adaptors import by_teacher, check_readable, is_transformers, sample_batch
from tinydistill.data import IDLE, Collator, LengthBucketSampler, ShareOfSteps, column
from tinydistill.distiller import Distiller
from tinydistill.encoders.precision import autocast
from tinydistill.encoders.recompute import recompute_activations
from tinydistill.evaluation import predict, predict_adapted
from tinydistill.features import Adaptor, FeatureReader
from tinydistill.layer_means import LayerMeans
from tinydistill.noisy_data import NoisyDataset
from tinydistill.objectives import Objective
from tinydistill.teachers import CachedTeachers, LiveTeacher, NoTeacher, Teachers, TeacherSignal


class DistillationTrainer(Trainer):
    """Trains a student by a list of objectives, most of which compare it with a teacher.

    model: the student, which is trained in place and otherwise left as it is; or a Distiller. teacher: a model, which
    is left as it is, or several by name, or a TeacherSignal, or None where no objective needs one. Transformers models,
    or any modules with student_adaptor and teacher_adaptor (of several teachers by name): such a module is called with
    the batch, a dict of tensors, as its one argument, and its adaptor makes `Features` of batch and outputs. What kind
    of labels a student without a configuration learns, the teacher's says; else it is one of several.
    objectives: those of TinyBERT's two phases together by default; not with a Distiller, which has its own.
    processing_class: the tokenizer of all models.
    train_dataset, eval_dataset: with the columns `text`, perhaps `text_pair`, and `label`; or tokenised (`input_ids`,
    perhaps `token_type_ids`, `labels`; of a model of tokens, labels of pieces, -100 where there is none). options:
    `layer_map`, `projection`, `heads`, `temperature` and `loss_scale` as on the command line, `max_length` in pieces,
    and `noise` as on the command line.

    An evaluation gives what `compute_metrics` or `score` (of the student) gives, without either the objectives' losses.
    Raises UserError, if student, teacher, objectives and datasets do not fit together.
    """

    # Losses are divided by the examples of the whole optimizer step: the same for any accumulation or device count.
    loss_is_scaled_for_ga = True
    model: Distiller

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | Distiller,
        teacher: PreTrainedModel | nn.Module | Mapping[str, PreTrainedModel | nn.Module] | TeacherSignal | None = None,
        objectives: Sequence[Objective] = (),
        args: TrainingArguments | None = None,
        data_collator: Callable | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        score: Callable[[Any], dict[str, float]] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        student_adaptor: Adaptor | None = None,
        teacher_adaptor: Adaptor | Mapping[str, Adaptor] | None = None,
        **options: Any,
    ):
        known = in_memory.options_of(options)
        args = copy.copy(args) if args else TrainingArguments(output_dir="trainer_output", report_to="none")
        args.remove_unused_columns = False  # the distiller's forward names none of them
        args._n_gpu = min(args.n_gpu, 1)  # one device a process: no DataParallel without a launcher
        if data_collator is None and processing_class is not None:
            data_collator = Collator(processing_class, at_places="labels")
        teachers = in_memory.by_name(teacher)
        adaptors = by_teacher(teacher_adaptor, teachers)
        given = model.student if isinstance(model, Distiller) else model
        self.labels = in_memory.labels_config(given, teachers)
        self.processing_class, self.max_length = processing_class, known.max_length
        self._given = None if isinstance(model, Distiller) else model
        if isinstance(model, Distiller):
            if student_adaptor is not None:
                raise UserError("a Distiller has a reader of its own; give student_adaptor with a student alone")
        else:
            check_readable(model, student_adaptor, "student", "student_adaptor")
            batch = None
            if (student_adaptor or adaptors) and data_collator is not None:
                rows = train_dataset if train_dataset is not None else eval_dataset
                batch = sample_batch(rows, lambda data: self._encoded(data, given), data_collator)
            set_seed(args.seed)  # of the projections
            model = in_memory.as_distiller(model, teacher, objectives, known, student_adaptor, adaptors, batch)
        if args.gradient_checkpointing:  # the Trainer would ask the distiller for it
            if not is_transformers(model.student):
                raise UserError("gradient_checkpointing is for transformers students; leave it out for this module")
            recompute_activations(model.student)
            args.gradient_checkpointing = args.activation_checkpointing = False
        if any(objective.one_by_one for objective in model.objectives):
            args.ddp_find_unused_parameters = True  # a step reaches nothing above the layers of its pair
        encoded = [self._encoded(data, model.student) for data in (train_dataset, eval_dataset)]
        if data_collator is None:
            raise UserError("DistillationTrainer needs processing_class, the tokenizer, or a data_collator")
        if known.noise:
            encoded[0] = _noisy(encoded[0], known.noise, processing_class, teacher, args.seed)
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=encoded[0],
            eval_dataset=encoded[1],
            processing_class=processing_class,
            callbacks=[_TellWhere(self), *callbacks],
        )
        self.score, self.compute = score, compute_metrics
        self.teacher: TeacherSignal
        live = [
            LiveTeacher(each, model.objectives, self.precision, args.device, name, adaptors.get(name))
            for name, each in teachers.items()
        ]
        if live:
            self.teacher = live[0] if len(live) == 1 else Teachers(live)
        else:
            self.teacher = teacher or NoTeacher()  # type: ignore[assignment]
        self._sums: dict[str, Tensor] = {}  # of each objective's loss since the last log, kept on the device
        self._layers = LayerMeans()
        self.logged_step = 0

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """As transformers' Trainer. The student that was given has the trained weights, also if this is interrupted."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self._given is not None:
                self._given.load_state_dict(self.model.student.state_dict())

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing in a resumed run that is at its end already, of which the Trainer would take one step more."""
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The weighted sum of the objectives: each a sum over the batch, divided by the examples of the step."""
        losses = model(inputs, self.teacher(inputs), self.done)
        assert num_items_in_batch is not None  # the examples of the step, of all processes
        if IDLE in inputs:
            losses = {name: 0 * values for name, values in losses.items()}
        # Distributed training averages the gradients of its processes.
        means = {name: values.sum() * self.args.world_size / num_items_in_batch for name, values in losses.items()}
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0) + mean.detach()
        scale = 0.0 if IDLE in inputs else self.args.world_size / num_items_in_batch
        self._layers.add(self.state.global_step, self.model.of_layers, scale)
        weights = self.model.weights(self.done)
        return torch.stack([weights[name] * mean for name, mean in means.items()]).sum()

    @property
    def done(self) -> float:
        """The share of the training's steps that are done."""
        return self.state.global_step / self.state.max_steps if self.state.max_steps > 0 else 0.0

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The Trainer's; projections that have a learning rate of their own are groups of their own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        for rate, parameters in self.model.projection_rates() if is_new else ():
            own = set(parameters)
            for group in list(optimizer.param_groups):
                if moved := [each for each in group["params"] if each in own]:
                    group["params"] = [each for each in group["params"] if each not in own]
                    settings = {name: value for name, value in group.items() if name not in ("params", "initial_lr")}
                    optimizer.add_param_group({**settings, "params": moved, "lr": rate})
        return optimizer

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthBucketSampler:
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self.sampler = LengthBucketSampler(column(self.train_dataset, "length"), step, self.args.seed)
        return self.sampler

    def get_train_dataloader(self) -> DataLoader:
        """Several processes share each step of one; the Trainer's way would repeat examples in the last one."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        share = ShareOfSteps(
            self._get_train_sampler(),
            self.args.train_batch_size,
            self.args.gradient_accumulation_steps,
            self.args.process_index,
            self.args.world_size,
        )
        return DataLoader(
            self.train_dataset,
            batch_sampler=share,
            collate_fn=self._collate,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _collate(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch. With no examples left for this process it takes any, which then do not count: all must step."""
        if examples:
            return self.data_collator(examples)
        return {**self.data_collator(self.train_dataset.__getitems__([0])), IDLE: torch.ones(1)}

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | int]:
        """The batches of a step, and its examples, of all processes together."""
        batches = list(islice(epoch_iterator, num_batches))
        own = sum(len(batch["input_ids"]) for batch in batches if IDLE not in batch)
        if self.args.world_size == 1:
            return batches, own
        return batches, self.accelerator.reduce(torch.tensor(own, device=device))

    def evaluate(
        self, eval_dataset: Dataset | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The student's metrics, or the objectives' losses, on `eval_dataset` or that of the trainer, with a prefix."""
        data = self._encoded(eval_dataset) if eval_dataset is not None else self.eval_dataset
        if self.compute is not None:
            measured = self.compute(EvalPrediction(*self._outputs(data)))
        else:
            measured = self.score(self.model.student) if self.score else self.mean_losses(data)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        self.log(dict(metrics))
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(
        self, test_dataset: Dataset, ignore_keys: Any = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """The student's outputs on a dataset, its labels where it has them, and their metrics.

        (N, C); of tokens those that have a label, one example's after the other's.
        """
        outputs, references = self._outputs(self._encoded(test_dataset))
        measured = self.compute(EvalPrediction(outputs, references)) if self.compute and references is not None else {}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        return PredictionOutput(predictions=outputs, label_ids=references, metrics=metrics)

    def _encoded(self, data: Any, student: Any = None) -> Any:
        student = self.model.student if student is None else student
        return in_memory.encode_dataset(data, self.processing_class, student, self.labels, self.max_length)

    def _outputs(self, data: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """(P, C), those that count of each example, and the gold labels."""
        student, read, collate = self.model.student, self.model.read, self.data_collator
        if isinstance(read, FeatureReader):
            outputs = predict(student, data, collate, self.precision, shared=True, kept=self.model.outputs)
        else:
            outputs = predict_adapted(
                student, read, data, collate, self.precision, self.args.device, kept=self.model.outputs
            )
        return outputs, in_memory.references(self.labels, data)

    @torch.no_grad()
    def mean_losses(self, data: Dataset, names: Sequence[str] = ()) -> dict[str, float]:
        """Mean loss of each objective on a dataset, or of those of the names."""
        model = self.model.eval()
        names = names or [objective.label for objective in model.objectives]
        order = np.argsort(-column(data, "length"), kind="stable")
        sums = torch.zeros(len(names), dtype=torch.float64)
        starts = range(0, len(order), self.args.train_batch_size)
        for start in starts[processes.index() :: processes.count()]:
            rows = order[start : start + self.args.train_batch_size].tolist()
            batch = self._prepare_inputs(self.data_collator(data.__getitems__(rows)))
            teacher = self.teacher(batch)
            with self._autocast():
                losses = model(batch, teacher, self.done)
            sums += torch.stack([losses[name].sum() for name in names]).cpu().double()
        model.train()
        means = (processes.total(sums) / len(order)).tolist()
        for name, mean in zip(names, means, strict=True):
            if not math.isfinite(mean):
                raise UserError(self._diverged(f"the loss of {name} on dev is not finite"))
        return {f"loss_{name}": mean for name, mean in zip(names, means, strict=True)}

    def _autocast(self) -> contextlib.AbstractContextManager:
        return autocast(self.precision, self.args.device)

    @property
    def precision(self) -> str:
        return "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "float32"

    def _maybe_log_save_evaluate(
        self, tr_loss: Tensor, grad_norm: Tensor | float | None, *args: Any, **kw: Any
    ) -> None:
        """A step that is not finite ends the run before anything is made of it.

        On an accelerator it is looked at where the Trainer waits for the device anyway; once a loss is not finite,
        those after it are not either.
        """
        control = self.control
        if self.args.device.type == "cpu" or control.should_log or control.should_evaluate or control.should_save:
            self._check_step(grad_norm, kw.get("learning_rate"))
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *args, **kw)

    def _check_step(self, grad_norm: Tensor | float | None, rate: float | None) -> None:
        """Raises UserError if a component of the loss, the gradient or, before a checkpoint, a weight is not finite."""
        for name, value in self._sums.items():
            if not math.isfinite(value):
                raise UserError(self._diverged(f"the loss of {name} is not finite", rate))
        # A step in fp16 that overflows is left out, and the next one is scaled down.
        if grad_norm is not None and not math.isfinite(grad_norm) and not self.args.fp16:
            raise UserError(self._diverged("the gradient is not finite", rate))
        if self.control.should_save and (name := not_finite(self.model)):
            raise UserError(self._diverged(f"the weights {name} are not finite", rate))

    def _diverged(self, what: str, rate: float | None = None) -> str:
        rate = self._get_learning_rate() if rate is None else rate
        steps = sorted(int(path.name.rpartition("-")[2]) for path in Path(self.args.output_dir).glob("checkpoint-*"))
        good = f"; the last good checkpoint is that of step {steps[-1]}" if steps else ""
        return (
            f"training diverged: {what} at step {self.state.global_step} (learning rate {rate:.3g}){good}; start over "
            "with a lower --learning-rate and --overwrite"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each objective since the last log, and of its layers, beside their weighted sum, `loss`."""
        if "loss" in logs:
            steps = self.state.global_step - self.logged_step
            means = processes.total(torch.stack(list(self._sums.values()))) / (steps * processes.count())
            logs |= {f"loss_{name}": mean for name, mean in zip(self._sums, means.tolist(), strict=True)}
            self._sums, self.logged_step = {}, self.state.global_step
            logs |= self._layers.take()
            logs |= self.model.scheduled((self.state.global_step - 1) / self.state.max_steps)
        super().log(logs, start_time)

    def _save_rng_state(self, output_dir: str) -> None:
        """The random state of every process, before the first one ends the checkpoint with the Trainer's state."""
        super()._save_rng_state(output_dir)
        processes.wait()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The student alone, with its tokenizer; checkpoints have the projections.

        A plain transformers model; of another module its weights as `model.safetensors`, for
        `safetensors.torch.load_model`.
        """
        if _internal_call:
            super().save_model(output_dir, _internal_call)
            return
        folder = output_dir or self.args.output_dir
        if hasattr(self.model.student, "save_pretrained"):
            self.model.student.save_pretrained(folder)
        elif self.args.should_save:  # one process writes
            Path(folder).mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_model(self.model.student, str(Path(folder) / "model.safetensors"))
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Student and projections as safetensors; no pickled arguments, which would hold paths of this machine."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_model(self.model, str(folder / "model.safetensors"))


def not_finite(model: nn.Module) -> str:
    """The first weights that hold a NaN or infinity, or ""."""
    return next((name for name, weight in model.named_parameters() if not weight.isfinite().all()), "")


def _noisy(
    train: Any, noise: str, tokenizer: PreTrainedTokenizerBase | None, teacher: object, seed: int
) -> NoisyDataset:
    if tokenizer is None or not isinstance(train, Dataset):
        raise UserError("noise needs processing_class, the tokenizer, and a datasets.Dataset to train on")
    if teacher is None or isinstance(teacher, NoTeacher | CachedTeachers):
        raise UserError("noise changes the texts, of which a teacher must say anew what they mean; give it as teacher=")
    return NoisyDataset(train, noise, tokenizer, seed)


class _TellWhere(TrainerCallback):
    """Tells the log the first step and the sampler the epoch, also where a resumed run starts in the middle of one, and
    the Trainer that such a run is at its end."""

    def __init__(self, trainer: DistillationTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.logged_step = state.global_step
        control.should_training_stop |= state.global_step >= state.max_steps

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.sampler.set_epoch(math.floor(state.epoch))
        if hasattr(self.trainer.train_dataset, "set_epoch"):
            self.trainer.train_dataset.set_epoch(math.floor(state.epoch))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.model.end_step(processes.total)

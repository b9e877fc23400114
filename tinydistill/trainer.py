"""DistillationTrainer: transformers' Trainer with a teacher beside the student.

The Trainer keeps its own work: accumulation, clipping, precision, checkpoints, resuming, several devices.
Reference: https://huggingface.co/docs/transformers/main_classes/trainer
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import processes
from tinydistill.data import LengthBucketSampler, ShareOfSteps, column
from tinydistill.distiller import Distiller, FeatureReader, Features
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import autocast

_IDLE = "idle"  # in a batch whose examples do not count


class DistillationTrainer(Trainer):
    """Trains a Distiller. Without `teacher`, a batch carries its outputs (`teacher_logits`) or needs none.

    `score` gives the dev metrics of the student, by which the best checkpoint is chosen; without it (a student whose
    head is not trained yet) an evaluation gives the objectives' losses on dev.
    """

    # Losses are divided by the examples of the whole optimiser step: the same for any accumulation or device count.
    loss_is_scaled_for_ga = True
    model: Distiller

    def __init__(
        self,
        distiller: Distiller,
        teacher: PreTrainedModel | None,
        args: TrainingArguments,
        train_dataset: Dataset,
        dev_dataset: Dataset,
        collate: Callable,
        score: Callable[[PreTrainedModel], dict[str, float]] | None,
    ):
        super().__init__(
            model=distiller,
            args=args,
            data_collator=collate,
            train_dataset=train_dataset,
            eval_dataset=dev_dataset,
            callbacks=[_TellWhere(self)],
        )
        self.score = score
        self.teacher = teacher
        if teacher is not None:
            self.teacher = teacher.to(args.device).eval().requires_grad_(False)
            prepare_products(self.teacher, self.precision)
            with self._autocast():
                self._read_teacher = FeatureReader(teacher, distiller.objectives, side=1)
        self._sums: dict[str, Tensor] = {}  # of each objective's loss since the last log, kept on the device
        self.logged_step = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The weighted sum of the objectives: each a sum over the batch, divided by the examples of the step."""
        losses = model(inputs, self._teacher_features(inputs))
        assert num_items_in_batch is not None  # the examples of the step, of all processes
        if _IDLE in inputs:
            losses = {name: 0 * values for name, values in losses.items()}
        # Distributed training averages the gradients of its processes.
        means = {name: values.sum() * self.args.world_size / num_items_in_batch for name, values in losses.items()}
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0) + mean.detach()
        return torch.stack([o.weight * means[o.name] for o in self.model.objectives]).sum()

    def _teacher_features(self, inputs: dict[str, Tensor]) -> Features | None:
        if self.teacher is not None:
            with torch.no_grad(), self._autocast():
                return self._read_teacher(self.teacher, inputs)
        if "teacher_logits" in inputs:
            return Features(hidden={}, attention={}, logits=inputs["teacher_logits"])
        return None

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
        return {**self.data_collator(self.train_dataset.__getitems__([0])), _IDLE: torch.ones(1)}

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | int]:
        """The batches of a step, and its examples, of all processes together."""
        batches = list(islice(epoch_iterator, num_batches))
        own = sum(len(batch["input_ids"]) for batch in batches if _IDLE not in batch)
        if self.args.world_size == 1:
            return batches, own
        return batches, self.accelerator.reduce(torch.tensor(own, device=device))

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The student's dev metrics or losses, prefixed `eval_` as the Trainer expects."""
        measured = self.score(self.model.student) if self.score else self._losses_on_dev()
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(dict(metrics))
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def _losses_on_dev(self) -> dict[str, float]:
        """Mean loss of each objective on the dev set."""
        model = self.model.eval()
        order = np.argsort(-column(self.eval_dataset, "length"), kind="stable")
        sums = torch.zeros(len(model.objectives), dtype=torch.float64)
        starts = range(0, len(order), self.args.train_batch_size)
        for start in starts[processes.index() :: processes.count()]:
            rows = order[start : start + self.args.train_batch_size].tolist()
            batch = self._prepare_inputs(self.data_collator(self.eval_dataset.__getitems__(rows)))
            teacher = self._teacher_features(batch)
            with self._autocast():
                losses = model(batch, teacher)
            sums += torch.stack([losses[o.name].sum() for o in model.objectives]).cpu().double()
        model.train()
        means = (processes.total(sums) / len(order)).tolist()
        for objective, mean in zip(model.objectives, means, strict=True):
            if not math.isfinite(mean):
                raise UserError(self._diverged(f"the loss of {objective.name} on dev is not finite"))
        return {f"loss_{o.name}": mean for o, mean in zip(model.objectives, means, strict=True)}

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
            f"training diverged: {what} at step {self.state.global_step} (learning rate {rate:.3g}){good}; start anew "
            "with a lower --learning-rate and --overwrite"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each objective since the last log beside their weighted sum, `loss`."""
        if "loss" in logs:
            steps = self.state.global_step - self.logged_step
            means = processes.total(torch.stack(list(self._sums.values()))) / (steps * processes.count())
            logs |= {f"loss_{name}": mean for name, mean in zip(self._sums, means.tolist(), strict=True)}
            self._sums, self.logged_step = {}, self.state.global_step
        super().log(logs, start_time)

    def _save_rng_state(self, output_dir: str) -> None:
        """The random state of every process, before the first one ends the checkpoint with the Trainer's state."""
        super()._save_rng_state(output_dir)
        processes.wait()

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Student and projections as safetensors; no pickled arguments, which would hold paths of this machine."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_model(self.model, str(folder / "model.safetensors"))


def not_finite(model: nn.Module) -> str:
    """The first weights that hold a NaN or infinity, or ""."""
    return next((name for name, weight in model.named_parameters() if not weight.isfinite().all()), "")


class _TellWhere(TrainerCallback):
    """Tells the log the first step and the sampler the epoch, also where a resumed run starts in the middle of one."""

    def __init__(self, trainer: DistillationTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.logged_step = state.global_step

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.sampler.set_epoch(math.floor(state.epoch))

"""The trainer of several tasks: other batches, and losses on dev and in the log by task."""

from typing import Any

from torch.utils.data import DataLoader

from tinydistill.multi_task.distiller import MultiTask
from tinydistill.multi_task.sampling import AllRows, BatchesOfSteps, TaskSteps
from tinydistill.trainer import DistillationTrainer


class MultiTaskTrainer(DistillationTrainer):
    """Trains a MultiTask; its datasets are AllRows. sampling: as `TaskSteps` takes it."""

    model: MultiTask
    train_dataset: AllRows

    def __init__(self, *args: Any, sampling: float = 1.0, **kwargs: Any):
        self.sampling = sampling
        super().__init__(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        accumulate, count = self.args.gradient_accumulation_steps, self.args.world_size
        examples = self.args.train_batch_size * accumulate * count
        self.sampler: Any = TaskSteps(self.train_dataset, examples, self.sampling, self.args.seed)
        return DataLoader(
            self.train_dataset,
            batch_sampler=BatchesOfSteps(self.sampler, accumulate, self.args.process_index, count),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def mean_losses(self, data: Any, names: Any = ()) -> dict[str, float]:
        """Mean loss of each objective of each task on its dev split."""
        found: dict[str, float] = {}
        for part in data.parts:
            found |= super().mean_losses(part, self.model.labels(part.task))
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The mean of an objective is over the steps of its task; `loss`, their weighted sum, over all steps."""
        if "loss" in logs:
            steps = self.state.global_step - self.logged_step
            for name in self._sums:
                self._sums[name] = self._sums[name] * (steps / self.model.steps[self.model.task_of[name]])
            self.model.steps.clear()
        super().log(logs, start_time)

"""A phase of several tasks in its folder: one record, and below it a folder with a plain model for each task."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainingArguments

from tinydistill import processes
from tinydistill.distiller import Distiller
from tinydistill.multi_task.distiller import MultiTask, TeachersByTask
from tinydistill.multi_task.sampling import AllRows, collate_by_task
from tinydistill.multi_task.trainer import MultiTaskTrainer
from tinydistill.option_fields import COMMA
from tinydistill.phase_run import PhaseRun
from tinydistill.phases import Phase
from tinydistill.preparation import common_tokenizer, names_of
from tinydistill.saving import save_student
from tinydistill.settings import Plan
from tinydistill.teachers import TeacherSignal

MEAN = "mean"  # of the tasks' main metrics, which chooses the checkpoint


class MultiTaskRun(PhaseRun):
    """One phase of several tasks. Each task's own run prepares its data, its teacher and its objectives."""

    def __init__(self, phase: Phase, plan: Plan, callbacks: Sequence[TrainerCallback] = ()):
        super().__init__(phase, plan.task, plan.options, callbacks)
        self.parts = {name: PhaseRun(phase, each.task, each.options) for name, each in plan.parts.items()}
        for part in self.parts.values():
            part.folder = self.folder  # one lock, one record

    def prepare(self, tokenizer: Any = None) -> None:
        tokenizer = common_tokenizer(self.options)
        for part in self.parts.values():
            part.prepare(tokenizer)

    def _settings(self) -> dict[str, Any]:
        found = super()._settings()
        del found["max_length"]
        made_from = next(iter(self.parts.values())).prepared.identity["student"]
        files = COMMA.join(part.options.train_file for part in self.parts.values() if part.options.train_file)
        return {**found, "train_file": files, "teacher": names_of(self.options), "student": made_from}

    def sources(self) -> dict[str, Any]:
        """Those of each task, under TASK_NAME."""
        return {
            f"{task}_{name}": value
            for task, part in self.parts.items()
            for name, value in {"max_length": part.options.max_length, **part.sources()}.items()
            if name not in ("teacher", "student")  # named once, and known by their weights
        }

    def make_ready(self) -> tuple[Distiller, TeacherSignal, list[str]]:
        distillers, signals = {}, {}
        notes = [f"all tasks share the body of the student of {next(iter(self.parts))}"]
        for task, part in self.parts.items():
            distillers[task], signals[task], own = part.make_ready()
            notes += [f"{task}: {note}" for note in own]
        return MultiTask(distillers), TeachersByTask(signals), notes

    def _trainer(self, distiller: Distiller, signal: TeacherSignal) -> MultiTaskTrainer:
        assert isinstance(distiller, MultiTask)
        return MultiTaskTrainer(
            distiller,
            signal,
            args=self._arguments(),
            data_collator=collate_by_task({task: part.data.collate for task, part in self.parts.items()}),
            train_dataset=AllRows({task: part.train_rows() for task, part in self.parts.items()}),
            eval_dataset=AllRows({task: part.data.main_dev for task, part in self.parts.items()}),
            score=(lambda _: self._scores(distiller)) if self.phase.keeps_best else None,
            callbacks=self._all_callbacks(),
            sampling=self.options.task_sampling,
        )

    def _scores(self, distiller: MultiTask) -> dict[str, float]:
        """Each task's metrics on dev, as TASK_METRIC, and the mean of their main ones."""
        scores = {task: part.score(distiller.of(task).student) for task, part in self.parts.items()}
        found = {f"{task}_{name}": value for task, own in scores.items() for name, value in own.items()}
        return found | {MEAN: sum(own[self.parts[task].task.main_metric] for task, own in scores.items()) / len(scores)}

    @property
    def _main_metric(self) -> str:
        return MEAN

    @property
    def _steps_per_epoch(self) -> int:
        examples = self.options.batch_size * self.options.accumulate * processes.count()
        return sum(math.ceil(len(part.data.train) / examples) for part in self.parts.values())

    def _arguments(self) -> TrainingArguments:
        arguments = super()._arguments()
        arguments.ddp_find_unused_parameters = True  # a step does not reach the heads of other tasks
        return arguments

    @property
    def _doubts(self) -> list[str]:
        return [f"{task}: {doubt}" for task, part in self.parts.items() for doubt in part.data.doubts]

    def _keep(self, distiller: Distiller, dev: Mapping[str, float]) -> None:
        assert isinstance(distiller, MultiTask)
        for task, part in self.parts.items():
            own = {name.removeprefix(f"{task}_"): value for name, value in dev.items() if name.startswith(f"{task}_")}
            part._keep(distiller.of(task), own)

    def _save(self, distiller: Distiller) -> None:
        assert isinstance(distiller, MultiTask)
        for task, part in self.parts.items():
            save_student(distiller.of(task), part.tokenizer, part.options.max_length, self.folder.path / task)

    def _describe_data(self) -> dict[str, Any]:
        """Each task's splits, and their train splits together."""
        own = {task: part.data.describe() for task, part in self.parts.items()}
        counts = [each["train"] for each in own.values()]
        return {"train": {name: sum(each[name] for each in counts) for name in counts[0]}, **own}

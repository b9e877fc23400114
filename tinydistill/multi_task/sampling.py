"""Which task each optimizer step is of, and which of its rows it takes.

A step is of one task: its examples are read and compared as in a run of that task alone, and neither accumulation nor
the number of processes changes what lies in it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from tinydistill.data import IDLE, LengthBucketSampler, column
from tinydistill.kinds.kind import Batch, Collate
from tinydistill.noisy_data import NoisyDataset

TASK = "task"  # in an example and a batch: the name of its task
_STREAM = 2  # of the seed: no other draw of the run has the same


class TaskRows(TorchDataset):
    """The rows of one task, each with its name."""

    def __init__(self, task: str, rows: Dataset | NoisyDataset):
        self.task, self.rows = task, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [{**example, TASK: self.task} for example in self.rows.__getitems__(list(rows))]

    # What `data.column` reads a column by.
    @property
    def data(self) -> pa.Table:
        return self.rows.data

    @property
    def _indices(self) -> Any:
        return self.rows._indices


class AllRows(TorchDataset):
    """The rows of all tasks behind each other.

    -1 - i is row i where it only keeps a process busy that has no example of the step.
    """

    def __init__(self, rows: Mapping[str, Dataset | NoisyDataset]):
        self.parts = [TaskRows(task, each) for task, each in rows.items()]
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])  # of each part; the last one is the length

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Rows of one task."""
        if rows[0] < 0:
            return [{**example, IDLE: True} for example in self.__getitems__([-1 - row for row in rows])]
        part = int(np.searchsorted(self.starts, rows[0], side="right")) - 1
        return self.parts[part].__getitems__([int(row) - int(self.starts[part]) for row in rows])

    def set_epoch(self, epoch: int) -> None:
        """For noise, which is another one in each epoch."""
        for part in self.parts:
            if isinstance(part.rows, NoisyDataset):
                part.rows.set_epoch(epoch)


def collate_by_task(collates: Mapping[str, Collate]) -> Callable[[list[dict[str, Any]]], Batch]:
    """What makes a batch of the examples of one task, as the task makes its own; it has the task's name too."""

    def collate(examples: list[dict[str, Any]]) -> Batch:
        task = examples[0][TASK]
        rows = [{name: value for name, value in each.items() if name not in (TASK, IDLE)} for each in examples]
        batch: dict[str, Any] = {**collates[task](rows), TASK: task}
        return batch | ({IDLE: torch.ones(1)} if IDLE in examples[0] else {})

    return collate


class TaskSteps(Sampler[np.ndarray]):
    """The steps of an epoch: as many as all tasks' rows make together, each of one task.

    The share of a task is its steps (of a pass over its rows) to the power `sampling`, divided by those of all: at 1
    every row comes once an epoch, at 0 all tasks come equally often. Over the epochs its steps are never off that share
    by a whole step or more. A task's rows come in passes, in the order that `LengthBucketSampler` gives them in that
    epoch of a run of the task alone; where one pass ends, the next begins, in the next epoch as well.
    """

    def __init__(self, rows: AllRows, examples: int, sampling: float, seed: int):
        """examples: of a step."""
        self.rows, self.examples, self.seed, self.epoch = rows, examples, seed, 0
        lengths = [column(part, "length") for part in rows.parts]
        self.orders = [LengthBucketSampler(each, examples, seed) for each in lengths]
        self.of_pass = [math.ceil(len(each) / examples) for each in lengths]  # steps of a pass over a task's rows
        weights = np.array(self.of_pass, dtype=np.float64) ** sampling
        self.shares = weights / weights.sum()

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(self.of_pass)

    def taken(self, steps: int) -> np.ndarray:
        """How many of the run's first `steps` steps are of each task (tasks,): Webster's method, which takes nothing
        back as `steps` grows."""
        # The quotients that are rounded differ from the shares by less than half a step for each task.
        counts = np.maximum(np.floor((steps - len(self.shares) / 2) * self.shares), 0).astype(np.int64)
        while counts.sum() < steps:
            counts[np.argmin((counts + 0.5) / self.shares)] += 1
        return counts

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rows of each step, of like length."""
        before, after = (self.taken(len(self) * epoch) for epoch in (self.epoch, self.epoch + 1))
        tasks = np.repeat(np.arange(len(self.orders)), after - before)
        random = np.random.default_rng((self.seed, self.epoch, _STREAM))
        places = before.tolist()
        orders: dict[int, np.ndarray] = {}  # of the pass that a task is in
        for task in random.permutation(tasks).tolist():
            number, step = divmod(places[task], self.of_pass[task])
            if task not in orders or step == 0:
                self.orders[task].set_epoch(number)
                orders[task] = self.orders[task].order()
            rows = orders[task][step * self.examples : (step + 1) * self.examples]
            yield rows + self.rows.starts[task]
            places[task] += 1


class BatchesOfSteps(Sampler[list[int]]):
    """The batches of one of several processes: each step is dealt evenly, in as many batches as all others.

    A batch without an example has a row that does not count, of the same task: all processes must step.
    """

    def __init__(self, steps: TaskSteps, accumulate: int, index: int, count: int):
        self.steps, self.accumulate, self.index, self.count = steps, accumulate, index, count

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.steps:
            for batch in np.array_split(rows, self.accumulate * self.count)[self.index :: self.count]:
                yield batch.tolist() or [-1 - int(rows[0])]

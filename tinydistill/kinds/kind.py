"""What a kind of task has to say. All else is the same for every kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.files import Table
from glue_tasks.task import Task

Batch = dict[str, Tensor]
Collate = Callable[[list[dict[str, Any]]], Batch]


class TaskKind(Protocol):
    """N examples, B of them in a batch, L tokens, C outputs of the head."""

    task: Task
    auto_model: Any  # AutoModelForSequenceClassification or another, with the head of the kind
    losses: Mapping[str, str]  # the losses of "logits" and "labels", by name, where an objective names none

    def __init__(self, task: Task) -> None: ...

    # Inputs
    def encode(self, table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_dir: Path) -> Dataset:
        """A table as a memory-mapped dataset: the columns that `collate` takes, `length` and `cut`."""

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        """What makes a batch of examples, padded to the longest or to `pad_to` pieces."""

    def blank_label(self) -> Any:
        """Some valid label as a dataset has it, for a model that is only tried."""

    # Outputs
    def head(self) -> dict[str, object]:
        """Configuration entries that make a head fit the task."""

    def positions(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Which outputs count, bool: (B,) where an example has one, (B, L) where its tokens have one each."""

    def references(self, data: Dataset) -> np.ndarray:
        """The gold labels of a dataset, an array of N."""

    def score(self, outputs: np.ndarray, references: np.ndarray, config: PreTrainedConfig | None = None) -> dict:
        """The task's metrics by name. outputs: (N, C). With `config`, by what `keep` noted in it."""

    def chance(self, references: np.ndarray) -> float:
        """The best main metric of a model that gives every example the same answer."""

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        """Note in a student's configuration what its answers depend on besides its outputs, such as a threshold."""

    # Checks
    def doubts(self, name: str, outputs: np.ndarray, references: np.ndarray, unnamed: bool) -> "Doubts":
        """What dev says of the meaning of a model's outputs. Raises UserError if they certainly mean something else.

        unnamed: whether the model's configuration does not name them.
        """

    # Predictions
    def answers(self, outputs: np.ndarray, config: PreTrainedConfig, names: Sequence[str]) -> list[str]:
        """What is written for each example. names: what is written for each label."""

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """(N, C) in float64, or None where outputs are no probabilities of labels."""


class Doubts:
    """Sentences about a model's outputs: `notes` are told, `serious` ones stop a run that does not allow them."""

    def __init__(self, notes: Iterable[str] = (), serious: Iterable[str] = ()):
        self.notes = [note for note in notes if note]
        self.serious = [doubt for doubt in serious if doubt]

"""What a kind of task has to say. All else is the same for every kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.rows import Split
from glue_tasks.task import Task
from tinydistill.kinds.units import Units
from tinydistill.outputs import Outputs

Batch = dict[str, Tensor]
Collate = Callable[[list[dict[str, Any]]], Batch]


@dataclass(frozen=True)
class Lengths:
    """How much of a row a model sees at once, in word pieces."""

    max_length: int  # special pieces included
    doc_stride: int = 128  # by which the windows of a long text advance


class TaskKind(Protocol):
    """N examples, B of them in a batch, L pieces, C outputs of the head; P rows of outputs, those that count of each
    example, in the order of the data."""

    task: Task
    auto_model: Any  # AutoModelForSequenceClassification or another, with the head of the kind
    head_name: str  # what such a model is called
    ending: str  # of the name of a file of predictions
    losses: Mapping[str, str]  # the losses of "logits" and "labels", by name, where an objective names none
    outputs: Outputs  # which of a model's outputs count, and how they are compared

    def __init__(self, task: Task) -> None: ...

    # Inputs
    def encode(
        self,
        table: Split,
        tokenizer: PreTrainedTokenizerBase,
        lengths: Lengths,
        cache_dir: Path,
        for_training: bool = False,
    ) -> Dataset:
        """A table as a memory-mapped dataset: the columns that `collate` takes, `length` and `cut`.

        for_training: leave out what a model cannot learn from.
        """

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        """What makes a batch of examples, padded to the longest or to `pad_to` pieces."""

    def blank(self, mask: Tensor) -> Batch:
        """What a batch of the attention mask (B, L) has beside its pieces, for a model that is only tried."""

    # Outputs
    def head(self) -> dict[str, object]:
        """Configuration entries that make a head fit the task."""

    def score(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig | None = None) -> dict[str, float]:
        """The task's metrics by name, of outputs (P, C) on labelled data. With `config`, by what `keep` noted in it."""

    def details(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig) -> dict[str, Any]:
        """What else a report shows of a model, such as the scores of each type of entity; {} if nothing."""

    def units(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Units:
        """What a bootstrap draws of labelled data, whose `score` of outputs (P, C) was `scores`: a threshold stays as
        it is there."""

    def classes(self, outputs: np.ndarray, data: Dataset) -> "Classes | None":
        """The probabilities of labels, where each row of outputs (P, C) has one label, else None."""

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> "Said | None":
        """What outputs (P, C), whose `score` was `scores`, answer to each row, question or token; None of values."""

    def chance(self, data: Dataset) -> float:
        """The main metric of what is done without reading: the best constant answer, or a random one."""

    def beats_chance(self, outputs: np.ndarray, data: Dataset) -> bool:
        """Whether outputs (P, C) score so much better than chance that it is no luck."""

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        """Note in a student's configuration what its answers depend on besides its outputs, such as a threshold."""

    # Checks
    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> "Doubts":
        """What dev says of the meaning of a model's outputs. Raises UserError if they certainly mean something else.

        unnamed: whether the model's configuration does not name them.
        """

    # Predictions
    def files(self, path: Path, n_best: int = 0) -> tuple[Path, ...]:
        """What `write` writes, the path itself first where it is of predictions alone."""

    def write(self, answers: "Answers", path: Path) -> None:
        """Write the predictions, each file whole or not at all."""


@dataclass(frozen=True)
class Classes:
    """Of each row of outputs, an example or a token, which label it has."""

    probabilities: np.ndarray  # (P, C), float64
    gold: np.ndarray  # (P,), ids


@dataclass(frozen=True)
class Said:
    """What a model answers to N rows, questions or tokens."""

    answers: Sequence[str]
    sure: np.ndarray  # (N,), its probability of the answer; of a set of labels that of its least sure part
    gold: Sequence[str]


def said_of(classes: Classes, labels: Sequence[str]) -> Said:
    """Of one label each."""
    answers, gold = ([labels[i] for i in ids.tolist()] for ids in (classes.probabilities.argmax(-1), classes.gold))
    return Said(answers, classes.probabilities.max(-1), gold)


@dataclass(frozen=True)
class Answers:
    """A model's outputs on a split, and what it takes to write them."""

    outputs: np.ndarray  # (P, C)
    data: Dataset  # as `encode` made it
    table: Split
    config: PreTrainedConfig  # the model's
    n_best: int = 0  # answers to write beside the best one, where a kind has such


class Doubts:
    """Sentences about a model's outputs: `notes` are told, `serious` ones stop a run that does not allow them."""

    def __init__(self, notes: Iterable[str] = (), serious: Iterable[str] = ()):
        self.notes = [note for note in notes if note]
        self.serious = [doubt for doubt in serious if doubt]

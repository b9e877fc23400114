"""Sentences and pairs with one label, or one value, each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Value
from scipy.special import softmax
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.files import Table
from glue_tasks.labels import written_labels
from glue_tasks.metrics import METRICS
from glue_tasks.rows import Split
from glue_tasks.task import Task
from glue_tasks.writers import TableWriter
from tinydistill import label_order
from tinydistill.activations import doubt_of_values
from tinydistill.data import Collator, column, encode
from tinydistill.kinds import submissions, units
from tinydistill.kinds.kind import Answers, Batch, Classes, Collate, Doubts, Lengths, Said, said_of
from tinydistill.kinds.luck import beats_shuffles
from tinydistill.kinds.units import Scores, Units
from tinydistill.outputs import OfExamples, Outputs


class Sentences:
    """What all kinds share whose examples are a sentence or a pair, and have one row of outputs each."""

    auto_model: Any = AutoModelForSequenceClassification
    head_name = "sequence classifier"
    outputs: Outputs = OfExamples()
    losses: Mapping[str, str]
    label_type: Any  # of the column `labels`

    def __init__(self, task: Task):
        self.task = task
        self.ending = submissions.ending(task)

    def encode(
        self,
        table: Split,
        tokenizer: PreTrainedTokenizerBase,
        lengths: Lengths,
        cache_dir: Path,
        for_training: bool = False,
    ) -> Dataset:
        return encode(table, tokenizer, lengths.max_length, cache_dir, self.label_type, self.stored)

    def stored(self, label: Any) -> Any:
        """A row's label as the dataset has it."""
        return label

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        return Collator(tokenizer, pad_to)

    def blank(self, mask: Tensor) -> Batch:
        return {"labels": torch.tensor([self.blank_label()] * len(mask))}

    def blank_label(self) -> Any:
        """Some valid label as a dataset has it."""
        return 0

    def references(self, data: Dataset) -> np.ndarray:
        """The gold labels of a dataset, (N,): label ids, or values."""
        return column(data, "labels")

    def score(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig | None = None) -> dict[str, float]:
        return self.metrics(outputs, self.references(data), config)

    def metrics(self, outputs: np.ndarray, references: np.ndarray, config: PreTrainedConfig | None = None) -> dict:
        """The task's metrics by name. outputs: (N, C), references: N gold labels."""
        raise NotImplementedError

    def chance(self, data: Dataset) -> float:
        raise NotImplementedError

    def details(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig) -> dict[str, Any]:
        return {}

    def units(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Units:
        return Units("rows", column(data, "length"), "pieces", self.drawn(outputs, self.references(data), scores))

    def drawn(self, outputs: np.ndarray, references: np.ndarray, scores: Mapping[str, float]) -> Scores:
        """`metrics` of draws of rows; `scores` are those of all rows."""
        raise NotImplementedError

    def classes(self, outputs: np.ndarray, data: Dataset) -> Classes | None:
        return None

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Said | None:
        classes = self.classes(outputs, data)
        return said_of(classes, self.task.labels) if classes else None

    def beats_chance(self, outputs: np.ndarray, data: Dataset) -> bool:
        metric, gold = self.task.main_metric, self.references(data)
        if self.metrics(outputs, gold)[metric] <= self.chance(data):
            return False
        return beats_shuffles(lambda labels: self.metrics(outputs, labels)[metric], gold)

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        """Nothing: the outputs say it all."""

    def files(self, path: Path, n_best: int = 0) -> tuple[Path, ...]:
        return (path,)

    def write(self, answers: Answers, path: Path) -> None:
        assert isinstance(answers.table, Table)
        texts = self.answers(answers.outputs, answers.config, written_labels(self.task))
        header, rows = submissions.layout(answers.table, texts, self.probabilities(answers.outputs))
        with TableWriter(path, header) as file:
            for row in rows:
                file.write(row)

    def answers(self, outputs: np.ndarray, config: PreTrainedConfig, names: Sequence[str]) -> list[str]:
        """What is written for each example. names: what is written for each label."""
        raise NotImplementedError

    def chosen(self, outputs: np.ndarray, config: PreTrainedConfig) -> list[list[int]]:
        """The ids of each example's labels; none where outputs (N, C) are values."""
        return [[] for _ in outputs]

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        """(N, C) in float64, or None where outputs are no probabilities of labels."""
        raise NotImplementedError


def head_of_labels(task: Task, problem_type: str | None) -> dict[str, object]:
    """Configuration entries of a head with an output for each of the task's labels, by transformers' problem type."""
    return {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(task.labels)),
        "label2id": {label: i for i, label in enumerate(task.labels)},
        "problem_type": problem_type,
    }


class Classification(Sentences):
    """One of several labels: a softmax over C outputs."""

    losses: Mapping[str, str] = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}  # TinyBERT, eq. 10
    label_type = Value("int32")

    def head(self) -> dict[str, object]:
        return head_of_labels(self.task, "single_label_classification")

    def metrics(self, outputs: np.ndarray, references: np.ndarray, config: PreTrainedConfig | None = None) -> dict:
        return {name: METRICS[name](outputs.argmax(axis=-1), references) for name in self.task.metrics}

    def drawn(self, outputs: np.ndarray, references: np.ndarray, scores: Mapping[str, float]) -> Scores:
        return units.of_labels(outputs.argmax(axis=-1), references, self.task.num_labels, self.task.metrics)

    def classes(self, outputs: np.ndarray, data: Dataset) -> Classes | None:
        return Classes(softmax(outputs.astype(np.float64), axis=-1), self.references(data))

    def chance(self, data: Dataset) -> float:
        references, metric = self.references(data), METRICS[self.task.main_metric]
        return max(metric(np.full(len(references), label), references) for label in range(self.task.num_labels))

    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        references = self.references(data)
        note = label_order.check_order(self.task, name, outputs, references, unnamed)
        return Doubts([note], [label_order.doubt(self.task, name, outputs, references)] if unnamed else [])

    def answers(self, outputs: np.ndarray, config: PreTrainedConfig, names: Sequence[str]) -> list[str]:
        return [names[label] for (label,) in self.chosen(outputs, config)]

    def chosen(self, outputs: np.ndarray, config: PreTrainedConfig) -> list[list[int]]:
        return [[label] for label in outputs.argmax(axis=-1).tolist()]

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        return softmax(outputs.astype(np.float64), axis=-1)


class Regression(Sentences):
    """One value."""

    losses: Mapping[str, str] = {"logits": "logits_mse", "labels": "gold_mse"}
    label_type = Value("float64")

    def blank_label(self) -> Any:
        return 0.0

    def head(self) -> dict[str, object]:
        return {"num_labels": 1, "problem_type": "regression"}

    def metrics(self, outputs: np.ndarray, references: np.ndarray, config: PreTrainedConfig | None = None) -> dict:
        return {name: METRICS[name](outputs[:, 0], references) for name in self.task.metrics}

    def drawn(self, outputs: np.ndarray, references: np.ndarray, scores: Mapping[str, float]) -> Scores:
        return units.of_values(outputs[:, 0], references, self.task.metrics)

    def chance(self, data: Dataset) -> float:
        return 0.0

    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        return Doubts(serious=[doubt_of_values(name, outputs, self.references(data))])

    def answers(self, outputs: np.ndarray, config: PreTrainedConfig, names: Sequence[str]) -> list[str]:
        # As the model gave it, to the last digit, so that the file has the score that is printed.
        return [str(float(row[0])) for row in outputs]

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        return None

"""Sentences and pairs with any number of labels each: a sigmoid for each label, and one threshold for all.

The threshold is the one with the best micro-averaged F1 on dev (Lipton et al. 2014, arXiv 1402.1892, on F1 and
thresholds); it is noted in the student's configuration, where `predict` finds it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, List, Value
from scipy.special import expit
from transformers import PreTrainedConfig

from glue_tasks.metrics import METRICS
from glue_tasks.task import Task
from tinydistill.kinds import units
from tinydistill.kinds.kind import Doubts, Said
from tinydistill.kinds.sentences import Sentences, head_of_labels
from tinydistill.kinds.units import Scores

THRESHOLD = "multi_label_threshold"  # in a model's configuration
_UNKNOWN = 0.5  # of a model that states none


class MultiLabel(Sentences):
    """Any number of labels."""

    losses: Mapping[str, str] = {"logits": "soft_binary_cross_entropy", "labels": "gold_binary_cross_entropy"}

    def __init__(self, task: Task):
        super().__init__(task)
        self.label_type = List(Value("int8"), length=task.num_labels)

    def stored(self, label: Any) -> Any:
        """(C,) of 0 and 1, of a tuple of label ids."""
        return [int(i in label) for i in range(self.task.num_labels)]

    def blank_label(self) -> Any:
        return [0] * self.task.num_labels

    def head(self) -> dict[str, object]:
        return head_of_labels(self.task, "multi_label_classification")

    def references(self, data: Dataset) -> np.ndarray:
        """(N, C) of 0 and 1."""
        return np.array(data["labels"][:], dtype=np.int64).reshape(len(data), self.task.num_labels)

    def metrics(self, outputs: np.ndarray, references: np.ndarray, config: PreTrainedConfig | None = None) -> dict:
        """The metrics at the model's threshold, or at the best one for these examples; and which it is."""
        chances = expit(outputs.astype(np.float64))
        threshold = getattr(config, THRESHOLD, None) if config is not None else None
        if threshold is None:
            threshold = best_threshold(chances, references)
        predictions = self.label_sets(outputs, threshold)
        return {name: METRICS[name](predictions, references) for name in self.task.metrics} | {"threshold": threshold}

    def drawn(self, outputs: np.ndarray, references: np.ndarray, scores: Mapping[str, float]) -> Scores:
        return units.of_label_sets(self.label_sets(outputs, scores["threshold"]), references, self.task.metrics)

    def label_sets(self, outputs: np.ndarray, threshold: float) -> np.ndarray:
        """(N, C) of 0 and 1, the labels whose probability reaches the threshold."""
        return (expit(outputs.astype(np.float64)) >= threshold).astype(np.int64)

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Said | None:
        chances, sets = expit(outputs.astype(np.float64)), self.label_sets(outputs, scores["threshold"])
        answers, gold = ([self._named(row) for row in each] for each in (sets, self.references(data)))
        return Said(answers, np.where(sets == 1, chances, 1 - chances).min(-1), gold)

    def _named(self, chosen: np.ndarray) -> str:
        """A row of 0 and 1 as a text."""
        return self.task.label_separator.join(self.task.labels[i] for i in np.flatnonzero(chosen)) or "(none)"

    def chance(self, data: Dataset) -> float:
        references, metric = self.references(data), METRICS[self.task.main_metric]
        frequent = np.argsort(-references.sum(0), kind="stable")
        scores = []
        for count in range(1, self.task.num_labels + 1):  # the most frequent labels, for every example
            answer = np.zeros(self.task.num_labels, dtype=np.int64)
            answer[frequent[:count]] = 1
            scores.append(metric(np.broadcast_to(answer, references.shape), references))
        return max(scores)

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        if "threshold" in scores:
            setattr(config, THRESHOLD, scores["threshold"])

    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        if not unnamed:
            return Doubts()
        order = ", ".join(self.task.labels)
        return Doubts(serious=[f"the model {name} does not name its labels; they are taken in the order {order}"])

    def answers(self, outputs: np.ndarray, config: PreTrainedConfig, names: Sequence[str]) -> list[str]:
        return [self.task.label_separator.join(names[i] for i in own) for own in self.chosen(outputs, config)]

    def chosen(self, outputs: np.ndarray, config: PreTrainedConfig) -> list[list[int]]:
        """At the model's threshold."""
        chosen = self.label_sets(outputs, getattr(config, THRESHOLD, _UNKNOWN))
        return [np.flatnonzero(row).tolist() for row in chosen]

    def probabilities(self, outputs: np.ndarray) -> np.ndarray | None:
        return expit(outputs.astype(np.float64))


def best_threshold(chances: np.ndarray, references: np.ndarray) -> float:
    """The threshold of the best micro-averaged F1, midway between two probabilities.

    chances: (N, C) from 0 to 1, references: (N, C) of 0 and 1. Of equally good ones that with the fewest labels.
    """
    order = np.argsort(-chances, axis=None, kind="stable")
    sorted_chances, hits = chances.ravel()[order], references.ravel()[order]
    found = np.cumsum(hits)  # with the k likeliest labels: found[k - 1] right of k
    if not len(found) or not found[-1]:
        return _UNKNOWN
    f1 = 2 * found / (np.arange(1, len(found) + 1) + found[-1])
    f1[:-1][sorted_chances[:-1] == sorted_chances[1:]] = -1.0  # no threshold parts equal ones
    best = int(f1.argmax())
    below = sorted_chances[best + 1] if best + 1 < len(sorted_chances) else 0.0
    return float((sorted_chances[best] + below) / 2)

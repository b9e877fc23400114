"""Plain text: a masked language model, or a bare encoder, which a general distillation makes. No task's labels.

Source: BERT (arXiv 1810.04805), section 3.1; pseudo-perplexity: Salazar et al. (arXiv 1910.14659), here of the pieces
that are masked together.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from glue_tasks.rows import Split
from glue_tasks.task import Task
from tinydistill.data import Collator
from tinydistill.kinds.kind import Answers, Batch, Classes, Collate, Doubts, Lengths, Said
from tinydistill.kinds.units import Units
from tinydistill.outputs import COUNTED, OfMaskedPieces, Outputs


class MaskedLM:
    """Which piece stood at each masked place."""

    auto_model: Any = AutoModelForMaskedLM
    head_name = "masked language model"
    losses: Mapping[str, str] = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}
    outputs: Outputs = OfMaskedPieces()
    ending = "txt"

    def __init__(self, task: Task):
        self.task = task

    def encode(
        self,
        table: Split,
        tokenizer: PreTrainedTokenizerBase,
        lengths: Lengths,
        cache_dir: Path,
        for_training: bool = False,
    ) -> Dataset:
        raise UserError(f"{table.path} is a task's table, and a general distillation reads text; name it with --corpus")

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        return Collator(tokenizer, pad_to, at_places="labels")

    def blank(self, mask: Tensor) -> Batch:
        counted = torch.zeros_like(mask, dtype=torch.bool)
        counted[:, :1] = True  # all rows have a first piece
        return {COUNTED: counted, "labels": torch.where(counted, 0, -100)}

    def head(self) -> dict[str, object]:
        return {}

    def score(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig | None = None) -> dict[str, float]:
        """`masked_accuracy`, `masked_loss` (nats a piece) and `pseudo_perplexity`, of outputs (P, 2) as
        `OfMaskedPieces.kept` has them; all over the masked pieces, each counting once."""
        loss = -float(outputs[:, 0].mean(dtype=np.float64))
        return {
            "masked_accuracy": float(outputs[:, 1].mean(dtype=np.float64)),
            "masked_loss": loss,
            "pseudo_perplexity": math.exp(min(loss, _MOST_NATS)),
        }

    def details(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig) -> dict[str, Any]:
        return {}

    def units(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Units:
        """The masked pieces, each by itself."""

        def of_draws(weights: np.ndarray) -> dict[str, np.ndarray]:
            likelihood, accuracy = (weights @ outputs.astype(np.float64) / weights.sum(1, keepdims=True)).T
            perplexity = np.exp(np.minimum(-likelihood, _MOST_NATS))
            return {"masked_accuracy": accuracy, "masked_loss": -likelihood, "pseudo_perplexity": perplexity}

        return Units("masked pieces", np.ones(len(outputs), dtype=np.int64), "pieces", of_draws)

    def classes(self, outputs: np.ndarray, data: Dataset) -> Classes | None:
        return None

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Said | None:
        return None

    def chance(self, data: Dataset) -> float:
        """Of the piece that is masked most often."""
        counts = np.unique(np.concatenate([np.asarray(labels) for labels in data["labels"]]), return_counts=True)[1]
        return float(counts.max() / counts.sum())

    def beats_chance(self, outputs: np.ndarray, data: Dataset) -> bool:
        """By three standard errors of a share of P."""
        chance, accuracy = self.chance(data), float(outputs[:, 1].mean())
        return accuracy > chance + 3 * math.sqrt(chance * (1 - chance) / len(outputs))

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        """Nothing: its answers depend on its outputs alone."""

    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        return Doubts()

    def files(self, path: Path, n_best: int = 0) -> tuple[Path, ...]:
        return (path,)

    def write(self, answers: Answers, path: Path) -> None:
        raise UserError("a masked language model has no predictions of a task to write; fine-tune it on one first")


class Encoder(MaskedLM):
    """Text for a model without a head, which learns from hidden states and attention alone."""

    auto_model: Any = AutoModel
    head_name = "encoder"
    losses: Mapping[str, str] = {}


_MOST_NATS = 700.0  # whose exponential a float still holds

"""Which of a model's outputs count, and how they are compared: one row an example, one a token, or starts and ends.

Shapes: B examples, L pieces, C outputs of the head; N rows of what a loss compares, K classes of each.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from tinydistill.losses.arithmetic import wide

COUNTED = "counted"  # of a batch: (B, L) bool, the pieces whose outputs count
LEFT_OUT = -1e4  # a logit that has no part in a softmax, also in half precision


class Outputs(Protocol):
    """How the outputs of a kind of task are compared."""

    columns: int  # of what `kept` gives; 0 where it is the C of the model's head

    def positions(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Which outputs count, bool: (B,) where an example has one row, (B, L) where its pieces have one each."""

    def rows(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """What losses compare, (N, K), of a model's logits (B, C) or (B, L, C)."""

    def gold(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The gold labels of the rows: ids (N,), values (N,), or (N, K) where a row has several."""

    def classes(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """How many of the K classes of each row count, (N,); None where all do."""

    def of_examples(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(N,) -> (B,), the mean of each example's rows."""

    def kept(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """What a score is made of, (P, C): the outputs that count, one example's after the other's."""


class OfExamples:
    """One row an example: sentences and pairs."""

    columns = 0

    def positions(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.ones(len(batch["input_ids"]), dtype=torch.bool, device=batch["input_ids"].device)

    def rows(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits

    def gold(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch["labels"]

    def classes(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        return None

    def of_examples(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return values

    def kept(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits


class OfTokens:
    """A row for each piece that counts; an example's loss is the mean over them, 0 if it has none."""

    columns = 0

    def positions(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch[COUNTED]

    def rows(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits[self.positions(batch)]

    def gold(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch["labels"][self.positions(batch)]

    def classes(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        return None

    def of_examples(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        counts = self.positions(batch)
        sums = values.new_zeros(len(counts)).index_add(0, counts.nonzero()[:, 0], values)
        return sums / counts.sum(1).clamp(min=1)

    def kept(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits[self.positions(batch).to(logits.device)]


class OfMaskedPieces(OfTokens):
    """A row for each masked piece, whose classes are the vocabulary: logits come as (N, V), of these pieces alone."""

    columns = 2

    def rows(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits

    def kept(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(N, 2): the natural logarithm of the gold piece's probability, and 1 where no other is likelier, else 0.

        All logits of a held-out text would take gigabytes.
        """
        logits, gold = logits.float(), self.gold(batch).to(logits.device)
        found = torch.log_softmax(logits, dim=-1).gather(1, gold[:, None])[:, 0]
        return torch.stack([found, (logits.argmax(-1) == gold).float()], dim=1)


class OfSpans:
    """Two rows an example, its start and its end: the classes are its pieces, of which those outside the context do
    not count. An example's loss is the mean of the two, as in transformers.

    The logits of the others are LEFT_OUT in the student's and the teacher's rows alike (TextBrewer's doc_mask).
    """

    columns = 0

    def positions(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch[COUNTED]

    def rows(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        outside = ~self.positions(batch)[..., None]  # (B, L, 1)
        return wide(logits).masked_fill(outside, LEFT_OUT).transpose(1, 2).flatten(0, 1)  # (2B, L)

    def gold(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch["labels"].flatten()  # (B, 2) -> (2B,)

    def classes(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        return self.positions(batch).sum(1).clamp(min=1).repeat_interleave(2)  # a context may be empty

    def of_examples(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return values.view(-1, 2).mean(1)

    def kept(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return logits[self.positions(batch).to(logits.device)]

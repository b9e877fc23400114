"""Several teachers as one: the mean of what they give for an example."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

BY_LABEL = "soft_binary_cross_entropy"  # the loss of outputs whose probabilities are a sigmoid for each label


@dataclass(frozen=True)
class Ensemble:
    """Whose outputs are averaged, and how.

    shares: teacher's name -> what it counts; they sum to 1. of: the mean is that of logits, or of the probabilities at
    an objective's temperature. by_label: probabilities are a sigmoid for each label, not a softmax over them.
    """

    shares: Mapping[str, float]
    of: str = "logits"  # or "probabilities"
    by_label: bool = False

    def mean(self, logits: Mapping[str, Tensor], temperature: float | Tensor = 1.0) -> Tensor:
        """Logits (N, C) whose softmax(z/t), or sigmoid, is the teachers' mean. temperature: a number, or (N, 1)."""
        counted = {name: share for name, share in self.shares.items() if share}
        if len(counted) == 1:
            return logits[next(iter(counted))]
        if self.of == "logits":
            return torch.stack([share * logits[name].float() for name, share in counted.items()]).sum(0)
        parts = [self._log_chances(logits[name].float() / temperature) for name in counted]
        weights = parts[0].new_tensor(list(counted.values())).log()
        weights = weights.view(-1, *[1] * parts[0].ndim)
        chances = torch.logsumexp(torch.stack(parts) + weights, 0)  # log of the mean
        if self.by_label:  # (N, C, 2): of yes and no
            chances = chances[..., 0] - chances[..., 1]
        return chances * temperature

    def _log_chances(self, logits: Tensor) -> Tensor:
        if self.by_label:
            return torch.stack([torch.nn.functional.logsigmoid(each) for each in (logits, -logits)], -1)
        return logits.log_softmax(-1)

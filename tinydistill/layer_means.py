"""Losses of single layers, beside those of whole objectives: a layer that does not learn is seen in the log."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tinydistill import processes
from tinydistill.objectives import Objective

Compared = tuple[str, tuple[str, ...]]  # an objective, and the layers of its student


def compared(objective: Objective, pairs: tuple[Any, ...]) -> Compared:
    """Those pairs of layers by the student's, `2`; by both, `2-5`, where one of the student's has several partners."""
    are_known_by_own = len({ours for ours, _ in objective.pairs}) == len(objective.pairs)
    return objective.label, tuple(_name(ours) if are_known_by_own else _name((ours, theirs)) for ours, theirs in pairs)


def _name(layers: Any) -> str:
    return str(layers) if isinstance(layers, int) else "-".join(map(_name, layers))


class LayerMeans:
    """Means since the last log, each over the steps in which its layer was compared."""

    def __init__(self) -> None:
        self._sums: dict[Compared, Tensor] = {}  # (layers,), on the device
        self._steps: dict[Compared, set[int]] = {}

    def add(self, step: int, losses: Mapping[Compared, Tensor], scale: float | Tensor) -> None:
        """losses: of the examples of a batch, (layers, B). scale: what makes their sums shares of the step's mean."""
        for key, values in losses.items():
            self._sums[key] = self._sums.get(key, 0) + values.sum(1) * scale
            self._steps.setdefault(key, set()).add(step)

    def take(self) -> dict[str, float]:
        """`layer_OBJECTIVE_LAYER` -> mean, of all processes together; they begin anew."""
        found: dict[str, float] = {}
        if self._sums:
            parts = [each / (len(self._steps[key]) * processes.count()) for key, each in self._sums.items()]
            names = [f"layer_{label}_{layer}" for label, layers in self._sums for layer in layers]
            found = dict(zip(names, processes.total(torch.cat(parts)).tolist(), strict=True))
        self._sums, self._steps = {}, {}
        return found

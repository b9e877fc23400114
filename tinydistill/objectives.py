"""An objective is a feature, a loss, the layers it pairs and a weight; a phase is a list of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from glue_tasks.task import Task
from tinydistill import losses
from tinydistill.layer_map import LayerMap

Feature = Literal["attention", "hidden", "logits", "labels"]


@dataclass(frozen=True)
class Objective:
    """`layers` pairs (student, teacher) layers for `attention` and `hidden`; their losses are summed."""

    name: str  # in the log and the report
    feature: Feature
    loss: Callable[..., Tensor]  # from losses.py; one value for each example
    layers: tuple[tuple[int, int], ...] = ()
    weight: float = 1.0


# The losses of the intermediate phase and of a classification, by --loss-scale.
_LAYER_LOSSES = {
    "valid": (losses.attention_mse, losses.hidden_mse),
    "reference": (losses.attention_mse_of_authors, losses.hidden_mse_of_authors),
}
_CLASS_LOSS = {"valid": losses.soft_cross_entropy, "reference": losses.soft_cross_entropy_of_authors}


def intermediate(layer_map: LayerMap, loss_scale: str = "valid") -> list[Objective]:
    """TinyBERT's first phase: attention scores and hidden states (equations 7 to 9)."""
    attention, hidden = _LAYER_LOSSES[loss_scale]
    return [
        Objective("attention", "attention", attention, layer_map.attention),
        Objective("hidden", "hidden", hidden, layer_map.hidden),
    ]


def prediction(task: Task, temperature: float, loss_scale: str = "valid") -> list[Objective]:
    """TinyBERT's second phase: the teacher's outputs (equation 10); for a regression its value."""
    if task.is_regression:
        return [Objective("logits", "logits", losses.logits_mse)]
    return [Objective("logits", "logits", partial(_CLASS_LOSS[loss_scale], temperature=temperature))]


def gold_labels(task: Task) -> list[Objective]:
    """Plain fine-tuning: what makes a teacher, and the baseline a student is compared with."""
    return [Objective("labels", "labels", losses.gold_mse if task.is_regression else losses.gold_cross_entropy)]

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


def intermediate(layer_map: LayerMap) -> list[Objective]:
    """TinyBERT's first phase: attention scores and hidden states (equations 7 to 9)."""
    return [
        Objective("attention", "attention", losses.attention_mse, layer_map.attention),
        Objective("hidden", "hidden", losses.hidden_mse, layer_map.hidden),
    ]


def prediction(task: Task, temperature: float) -> list[Objective]:
    """TinyBERT's second phase: the teacher's outputs (equation 10); for a regression its value."""
    if task.is_regression:
        return [Objective("logits", "logits", losses.logits_mse)]
    return [Objective("logits", "logits", partial(losses.soft_cross_entropy, temperature=temperature))]


def gold_labels(task: Task) -> list[Objective]:
    """Plain fine-tuning: what makes a teacher, and the baseline a student is compared with."""
    return [Objective("labels", "labels", losses.gold_mse if task.is_regression else losses.gold_cross_entropy)]

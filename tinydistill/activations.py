"""The activation that a configuration states for its model's outputs, and outputs that mean other values than a task's.

sentence-transformers trains cross-encoders of one output through an activation that it notes in `config.json`, and
transformers knows nothing of it. Source: sentence_transformers.CrossEncoder, `activation_fn`.
"""

from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from glue_tasks.errors import UserError

_STATED = ("sentence_transformers", "sbert_ce_default_activation_function")  # since version 4, and before
_ACTIVATIONS = {"Identity": None, "Linear": None, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh}


def forget_activation(config: PreTrainedConfig) -> None:
    """What is trained here gives its values as they are."""
    for name in _STATED:
        if hasattr(config, name):
            delattr(config, name)


def without_activation(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of a configuration but those that state an activation."""
    return {name: value for name, value in entries.items() if name not in _STATED}


def apply_stated(model: PreTrainedModel, name: str) -> str:
    """Make the outputs of a regression those that its configuration means; returns a note, or "".

    Labels are distinguished by the largest output, which none of the activations moves. Raises UserError for an
    activation that is not known.
    """
    stated = _stated(model.config)
    if not stated or model.config.num_labels > 1:
        return ""
    kind = stated.rpartition(".")[2]
    if kind not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise UserError(f"the outputs of {name} pass through {stated} by its config.json; known are {known}")
    function = _ACTIVATIONS[kind]
    if function is None:
        return ""

    def apply(module: nn.Module, given: Any, output: Any) -> Any:
        output.logits = function(output.logits)
        return output

    model.register_forward_hook(apply)
    return f"the outputs of {name} pass through the {kind.lower()} that its config.json states"


def _stated(config: PreTrainedConfig) -> str:
    stated = getattr(config, _STATED[0], None)
    stated = stated.get("activation_fn") if isinstance(stated, dict) else getattr(config, _STATED[1], None)
    return stated if isinstance(stated, str) else ""


def doubt_of_values(name: str, outputs: np.ndarray, references: np.ndarray) -> str:
    """A sentence if a regression's values are farther from dev's than one constant is, however they correlate.

    outputs: (examples, 1), references: (examples,).
    """
    values, wanted = outputs[:, 0].astype(np.float64), references.astype(np.float64)
    error, spread = _rmse(values, wanted), float(wanted.std())
    if error < spread or spread == 0:
        return ""
    sentence = (
        f"the values of {name} run from {values.min():.3g} to {values.max():.3g}, those of dev from {wanted.min():.3g} "
        f"to {wanted.max():.3g}: their error ({error:.3g}) is larger than that of one constant ({spread:.3g})"
    )
    if _rmse(expit(values), wanted) < spread:
        return (
            f"{sentence}; they fit through a sigmoid: if it was trained through one, state it in its config.json "
            '("sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"})'
        )
    return f"{sentence}; write the labels in the scale that it was trained on, or choose another model"


def _rmse(values: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values - wanted) ** 2)))

"""The head of a masked language model, run at the pieces that are asked for alone.

A vocabulary is a hundred times as wide as a state: of 128 pieces, 15% of them masked, the head at all of them takes
more time and memory than the rest of a small model.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel

from tinydistill.encoders.logits import logits_of

# What the head is called in a model, and how it goes on: modules one after the other, names in the model's own words.
_HEADS: tuple[tuple[str, ...], ...] = (
    ("cls",),  # BERT, MobileBERT, ERNIE, DeBERTa ...
    ("lm_head",),  # RoBERTa, XLM-R, CamemBERT, MPNet ...
    ("predictions",),  # ALBERT
    ("generator_predictions", "generator_lm_head"),  # ELECTRA
    ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),  # DistilBERT
    ("head", "decoder"),  # ModernBERT
)


def is_masked_lm(model: Any) -> bool:
    """Whether it is a masked language model with its head."""
    return type(getattr(model, "config", None)) in MODEL_FOR_MASKED_LM_MAPPING and isinstance(
        model, MODEL_FOR_MASKED_LM_MAPPING[type(model.config)]
    )


def head_of(model: PreTrainedModel) -> Callable[[Tensor], Tensor] | None:
    """States (M, D) -> logits (M, V) of a masked language model; None of one whose head is not known."""
    if not is_masked_lm(model):
        return None
    for names in _HEADS:
        if all(callable(getattr(model, name, None)) for name in names):
            parts = [getattr(model, name) for name in names]

            def run(states: Tensor, parts: list = parts) -> Tensor:
                for part in parts:
                    states = part(states)
                return states

            return run
    return None


def run_at(model: PreTrainedModel, inputs: Mapping[str, Tensor], chosen: Tensor, **asked: Any) -> tuple[Tensor, Any]:
    """A masked language model's logits (M, V) at the chosen pieces (B, L) of bool, and all that its body gave.

    inputs: what its forward takes; asked: what else is wanted of it, such as `output_hidden_states`.
    """
    chosen = chosen.to(model.device)
    if (head := head_of(model)) is None:
        output = model(**inputs, **asked)
        return logits_of(output)[chosen], output
    output = model.base_model(**inputs, **asked)
    return head(output.last_hidden_state[chosen]), output

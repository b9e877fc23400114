"""What a model computed, as far as objectives compare it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.attention import QueriesAndKeys, ScoreReader, replace_attention
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.objectives import Objective


@dataclass
class Features:
    """What one model computed.

    hidden: states (B, L, D) by layer, 0 is the embeddings' output. attention: queries and keys (B, H, L, d) by block
    from 0, and values where relations are compared. logits: (B, C), or (B, L, C) where each token has its own.
    """

    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, QueriesAndKeys] = field(default_factory=dict)
    logits: Tensor | None = None


Adaptor = Callable[[Mapping[str, Tensor], Any], Features]  # of a batch, and of what a model gave for it


class Reader(Protocol):
    """Runs a model and returns the features that objectives compare."""

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> Features: ...


# Given a list of layers, transformers 5.23 keeps their hidden states alone, which saves memory. Earlier versions lose
# the last layer's.
_KEEPS_CHOSEN_LAYERS = tuple(map(int, transformers.__version__.split(".")[:2])) >= (5, 23)


def compares_logits(objectives: Iterable[Objective], side: Literal[0, 1]) -> bool:
    """Whether the student's (0) or the teacher's (1) logits are read."""
    return any(each.feature in (("logits", "labels") if side == 0 else ("logits",)) for each in objectives)


class FeatureReader:
    """Runs a transformers model and returns the features that a list of objectives compares, and no others.

    `side` is 0 for the student's and 1 for the teacher's end of the layer pairs.
    """

    def __init__(self, model: PreTrainedModel, objectives: Sequence[Objective], side: Literal[0, 1]):
        layers = {
            name: set().union(*(each.layers_of(side) for each in objectives if each.feature == name))
            for name in ("hidden", "attention", "relations")
        }
        replace_attention(model)
        self.hidden = sorted(layers["hidden"])
        blocks = layers["attention"] | layers["relations"]
        self.scores = ScoreReader(model, blocks, values=layers["relations"]) if blocks else None
        self.needs_logits = compares_logits(objectives, side)
        # Each model gets the inputs that its own forward names: a BERT teacher its segment ids, a DistilBERT none.
        self._inputs = accepted_inputs(model)

    def __call__(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Features:
        # Without need of logits the head, and with it the pooler's gradient, is left out.
        run = model if self.needs_logits else model.base_model
        output = run(
            **{name: batch[name] for name in self._inputs if name in batch},
            output_hidden_states=(self.hidden if _KEEPS_CHOSEN_LAYERS else True) if self.hidden else False,
            output_attentions=self.scores is not None,
        )
        return Features(
            hidden={i: output.hidden_states[i] for i in self.hidden},
            attention=self.scores.read(output.attentions) if self.scores else {},
            logits=output.logits if self.needs_logits else None,
        )


class AdaptedReader:
    """Runs any module and returns the features that an adaptor makes of its batch and its outputs.

    The module is called with the batch, a dict of tensors, as its one argument.
    """

    def __init__(self, adaptor: Adaptor):
        self.adaptor = adaptor

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Features:
        return self.adaptor(batch, model(batch))


def reached_parameters(student: PreTrainedModel, read: FeatureReader) -> set[Tensor]:
    """The parameters that a gradient of what is read would reach, found by a forward pass of one token."""
    was_training = student.training
    token = torch.full((1, 1), student.config.pad_token_id or 0, device=student.device)
    try:
        features = read(student.eval(), {"input_ids": token, "attention_mask": torch.ones_like(token)})
    finally:
        student.train(was_training)
    tensors = [*features.hidden.values(), *([] if features.logits is None else [features.logits])]
    tensors += [each for made_of in features.attention.values() for each in made_of[:2]]
    tensors += [made_of.value for made_of in features.attention.values() if made_of.value is not None]
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen, found = set(waiting), set()
    while waiting:
        node = waiting.pop()
        if (leaf := getattr(node, "variable", None)) is not None:  # of a node that collects a leaf's gradient
            found.add(leaf)
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return found

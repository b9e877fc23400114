"""What a model computed, as far as objectives compare it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys, ScoreReader, replace_attention
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.logits import logits_of
from tinydistill.encoders.masked_head import is_masked_lm, run_at
from tinydistill.objectives import Objective
from tinydistill.outputs import COUNTED


@dataclass
class Features:
    """What one model computed.

    hidden: states (B, L, D) by layer, 0 is the embeddings' output. attention: queries and keys (B, H, L, d) by block
    from 0, and values where relations are compared. logits: (B, C), or (B, L, C) where each token has its own, or
    (M, V) of the M masked pieces of a masked language model.
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


def parts_read(objective: Objective) -> tuple[str, ...]:
    """What an objective looks at of QueriesAndKeys; a function of one's own may look at all that its feature has."""
    if objective.feature not in ("attention", "relations"):
        return ()
    if isinstance(objective.loss, str):
        return losses.LOSSES[objective.loss].reads
    return ("query", "key", "value") if objective.feature == "relations" else ("query", "key")


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
        of_values = set().union(*(each.layers_of(side) for each in objectives if "value" in parts_read(each)))
        self.scores = ScoreReader(model, blocks, values=of_values) if blocks else None
        # Block -> the parts that any objective looks at.
        self.parts = {
            block: {part for each in objectives for part in parts_read(each) if block in each.layers_of(side)}
            for block in blocks
        }
        self.needs_logits = compares_logits(objectives, side)
        self._is_masked_lm = is_masked_lm(model)
        # Each model gets the inputs that its own forward names: a BERT teacher its segment ids, a DistilBERT none.
        self._inputs = accepted_inputs(model)

    def __call__(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Features:
        inputs = {name: batch[name] for name in self._inputs if name in batch}
        asked = {
            "output_hidden_states": (self.hidden if _KEEPS_CHOSEN_LAYERS else True) if self.hidden else False,
            "output_attentions": self.scores is not None,
        }
        logits = None
        if self.needs_logits and self._is_masked_lm and COUNTED in batch:
            logits, output = run_at(model, inputs, batch[COUNTED], **asked)
        else:
            # Without need of logits the head, and with it the pooler's gradient, is left out.
            output = (model if self.needs_logits else model.base_model)(**inputs, **asked)
            logits = logits_of(output) if self.needs_logits else None
        return Features(
            hidden={i: output.hidden_states[i] for i in self.hidden},
            attention=self.scores.read(output.attentions) if self.scores else {},
            logits=logits,
        )


class AdaptedReader:
    """Runs any module and returns the features that an adaptor makes of its batch and its outputs.

    The module is called with the batch, a dict of tensors, as its one argument.
    """

    def __init__(
        self, adaptor: Adaptor, objectives: Sequence[Objective] = (), side: Literal[0, 1] = 0, who: str = "student"
    ):
        """objectives: resolved; what they compare of the model must be there. who: what errors call the model."""
        self.adaptor, self.objectives, self.side, self.who = adaptor, list(objectives), side, who

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Features:
        """Raises UserError if the adaptor does not give what objectives compare, or in other shapes."""
        features = self.adaptor(batch, model(batch))
        check_shapes(features, batch, self.who)
        for objective in self.objectives:
            check_given(objective, features, self.side, self.who)
        return features


def check_shapes(features: Any, batch: Mapping[str, Tensor], who: str) -> None:
    """Raises UserError if an adaptor gave something else than Features, or features of another batch or length."""
    if not isinstance(features, Features):
        raise UserError(
            f"the adaptor of the {who} returns a {type(features).__name__}; it must return tinydistill.Features, "
            "such as Features(logits=...)"
        )
    rows, length = batch["input_ids"].shape[:2]
    for layer, states in features.hidden.items():
        if states.ndim != 3 or tuple(states.shape[:2]) != (rows, length):
            raise UserError(_shape(who, f"hidden {layer}", states, f"({rows}, {length}, width)"))
    for block, made_of in features.attention.items():
        if not isinstance(made_of, QueriesAndKeys):
            raise UserError(f"the adaptor of the {who} gives attention {block} as no QueriesAndKeys; make it one")
        for states in (made_of.query, made_of.key):
            if states.ndim != 4 or (states.shape[0], states.shape[2]) != (rows, length):
                raise UserError(_shape(who, f"attention {block}", states, f"({rows}, heads, {length}, width)"))
    logits = features.logits
    if logits is not None and (logits.ndim < 2 or len(logits) != rows):
        raise UserError(_shape(who, "logits", logits, f"({rows}, labels)"))


def _shape(who: str, what: str, found: Tensor, wanted: str) -> str:
    return (
        f"the adaptor of the {who} gives {what} of shape {tuple(found.shape)} for a batch whose input_ids make it "
        f"{wanted}; return a row for each example, and of layers a state for each piece, padding included"
    )


def check_given(objective: Objective, features: Features, side: Literal[0, 1], who: str, layers: bool = True) -> None:
    """Raises UserError if an adaptor lacks what an objective compares.

    who: what errors call the model. layers: whether the objective is resolved, so that its layers are looked at too.
    """
    cure = "let the adaptor give it, or leave the objective out"
    given = _in_words(features)
    if not objective.compares_layers:
        if compares_logits([objective], side) and features.logits is None:
            raise UserError(
                f"the objective {objective.label} needs logits of the {who}, whose adaptor gives {given}; {cure}"
            )
        return
    kind = "hidden" if objective.feature == "hidden" else "attention"
    there: Mapping[int, Any] = getattr(features, kind)
    if not there:
        raise UserError(
            f"the objective {objective.label} compares {kind} of the {who}, whose adaptor gives {given}; {cure}"
        )
    for layer in sorted(objective.layers_of(side)) if layers else ():
        if layer not in there:
            raise UserError(
                f"the objective {objective.label} compares {kind} {layer} of the {who}, whose adaptor gives {given}; "
                "name layers that it gives with layers=((student's, teacher's), ...), or let it give this one"
            )
        if objective.feature == "relations" and there[layer].value is None:
            raise UserError(
                f"the objective {objective.label} compares attention {layer} of the {who}, which its adaptor gives "
                "without values; give QueriesAndKeys(query, key, scale, value)"
            )


def _in_words(features: Features) -> str:
    """`hidden 0, 1 and logits`."""
    layers: dict[str, Mapping[int, Any]] = {"hidden": features.hidden, "attention": features.attention}
    given = [f"{name} {', '.join(map(str, sorted(of)))}" for name, of in layers.items() if of]
    return " and ".join([*given, *(["logits"] if features.logits is not None else [])]) or "nothing"


@contextlib.contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and then each part's own mode again: some may be kept from training."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def reached_parameters(student: PreTrainedModel, read: FeatureReader) -> set[Tensor]:
    """The parameters that a gradient of what is read would reach, found by a forward pass of one token."""
    was_training = student.training
    token = torch.full((1, 1), student.config.pad_token_id or 0, device=student.device)
    try:
        features = read(student.eval(), {"input_ids": token, "attention_mask": torch.ones_like(token)})
    finally:
        student.train(was_training)
    tensors = [*features.hidden.values(), *([] if features.logits is None else [features.logits])]
    tensors += [
        getattr(features.attention[block], part) for block, parts in read.parts.items() for part in sorted(parts)
    ]
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

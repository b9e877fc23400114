"""What a phase trains: the student and its projections, compared with teachers by a list of objectives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.attention import QueriesAndKeys, ScoreReader, replace_attention
from tinydistill.encoders.cpu.dropout import replace_dropout
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.objectives import ANY_TEACHER, Objective

Positions = Callable[[Mapping[str, Tensor]], Tensor]  # as TaskKind.positions


@dataclass
class Features:
    """What one model computed: hidden states (B, L, D) and queries and keys (B, H, L, d) by layer, logits (B, C)."""

    hidden: dict[int, Tensor]
    attention: dict[int, QueriesAndKeys]
    logits: Tensor | None


# Given a list of layers, transformers 5.23 keeps their hidden states alone, which saves memory. Earlier versions lose
# the last layer's.
_KEEPS_CHOSEN_LAYERS = tuple(map(int, transformers.__version__.split(".")[:2])) >= (5, 23)


class FeatureReader:
    """Runs a model and returns the features that a list of objectives compares, and no others.

    `side` is 0 for the student's and 1 for the teacher's end of the layer pairs.
    """

    def __init__(self, model: PreTrainedModel, objectives: Sequence[Objective], side: Literal[0, 1]):
        layers = {name: {pair[side] for o in objectives if o.feature == name for pair in o.pairs} for name in _BY_LAYER}
        replace_attention(model)
        self.hidden = sorted(layers["hidden"])
        self.scores = ScoreReader(model, layers["attention"]) if layers["attention"] else None
        compared = ("logits", "labels") if side == 0 else ("logits",)
        self.needs_logits = any(o.feature in compared for o in objectives)
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


_BY_LAYER = ("hidden", "attention")


def one_output_each(batch: Mapping[str, Tensor]) -> Tensor:
    """The positions of a task whose examples have one row of outputs each: (B,), all of them."""
    return torch.ones(len(batch["input_ids"]), dtype=torch.bool, device=batch["input_ids"].device)


class Distiller(nn.Module):
    """The student, one projection for each of its compared hidden states (or one shared), and the objectives.

    `forward` gives every objective's loss for each example. Only `student` is served later.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        objectives: Sequence[Objective],
        teacher_hidden_size: int = 0,
        positions: Positions = one_output_each,
    ):
        """objectives: resolved (`objectives.resolve`). teacher_hidden_size: what hidden states are projected to."""
        super().__init__()
        self.student = student
        self.objectives = list(objectives)
        self.positions = positions
        replace_dropout(student)
        self.read = FeatureReader(student, objectives, side=0)
        self._losses = {o.label: o.function() for o in self.objectives}
        self._places: dict[tuple[str, int], int] = {}  # (objective, student's layer) -> which projection
        self.projections = nn.ModuleList(self._make_projections(student.config.hidden_size, teacher_hidden_size))
        for layer in self.projections.children():  # as BERT initialises its own
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=getattr(student.config, "initializer_range", 0.02))
            nn.init.zeros_(layer.bias)
        self._freeze_untrained()

    def _make_projections(self, own: int, theirs: int) -> Iterator[nn.Linear]:
        """Of each objective that compares hidden states: one a layer, in the order of the layers, or one."""
        count = 0
        for objective in self.objectives:
            if objective.feature != "hidden" or objective.projection == "none":
                continue
            layers = sorted({pair[0] for pair in objective.pairs})
            shared = objective.projection == "shared"
            for place, layer in enumerate(layers):
                self._places[objective.label, layer] = count + (0 if shared else place)
            made = 1 if shared else len(layers)
            count += made
            yield from (nn.Linear(own, theirs) for _ in range(made))

    def forward(self, batch: Mapping[str, Tensor], teachers: Mapping[str, Features]) -> dict[str, Tensor]:
        """Objective's name -> unweighted losses (B,)."""
        features = self.read(self.student, batch)
        return {o.label: self._loss(o, features, teachers, batch) for o in self.objectives}

    def _loss(
        self, o: Objective, own: Features, teachers: Mapping[str, Features], batch: Mapping[str, Tensor]
    ) -> Tensor:
        loss = self._losses[o.label]
        if not o.compares_layers:
            assert own.logits is not None
            other = batch["labels"] if o.feature == "labels" else _of(teachers, o.teacher).logits
            return self._of_outputs(loss, own.logits, other, batch)
        teacher, mask = _of(teachers, o.teacher), batch["attention_mask"]
        losses = []
        for i, j in o.pairs:
            ours: Tensor | QueriesAndKeys
            theirs: Tensor | QueriesAndKeys
            if o.feature == "hidden":
                ours, theirs = self._project(o, own.hidden[i], i), teacher.hidden[j]
            else:
                ours, theirs = own.attention[i], teacher.attention[j]
                if o.heads == "mean":
                    ours, theirs = ours.mean_over_heads(), theirs.mean_over_heads()
            losses.append(loss(ours, theirs, mask))
        return torch.stack(losses).sum(0)  # (layers, B) -> (B,)

    def _of_outputs(
        self, loss: Callable[..., Tensor], own: Tensor, other: Tensor | None, batch: Mapping[str, Tensor]
    ) -> Tensor:
        """The loss of each example (B,): of its output, or a mean over those of its tokens that count."""
        counts = self.positions(batch)
        if counts.ndim == 1:
            return loss(own, other)
        assert other is not None
        values = loss(own[counts], other[counts])  # (outputs that count,)
        sums = values.new_zeros(len(counts)).index_add(0, counts.nonzero()[:, 0], values)
        return sums / counts.sum(1).clamp(min=1)

    def _project(self, objective: Objective, hidden: Tensor, layer: int) -> Tensor:
        """(B, L, D of the student) -> (B, L, D of the teacher)."""
        place = self._places.get((objective.label, layer))
        return hidden if place is None else self.projections[place](hidden)

    def _freeze_untrained(self) -> None:
        """Freeze what no objective reaches (head and pooler, in the intermediate phase): it must keep its value, and
        distributed training takes a parameter without gradient for a mistake."""
        if self.read.needs_logits:
            return
        base = self.student.base_model
        pooler = getattr(base, "pooler", None)  # None in a model that was built without one
        reached = set(base.parameters()) - set(pooler.parameters() if isinstance(pooler, nn.Module) else ())
        for parameter in self.student.parameters():
            parameter.requires_grad = parameter in reached


def _of(teachers: Mapping[str, Features], name: str) -> Features:
    """The features of the teacher that an objective names; "*" is the only one."""
    if name == ANY_TEACHER and len(teachers) == 1:
        return next(iter(teachers.values()))
    return teachers[name]

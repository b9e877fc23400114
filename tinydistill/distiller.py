"""What a phase trains: the student and its projections, compared with the teacher by a list of objectives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.attention import QueriesAndKeys, ScoreReader, replace_attention
from tinydistill.encoders.cpu.dropout import replace_dropout
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.objectives import Objective


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
        layers = {
            name: {pair[side] for o in objectives if o.feature == name for pair in o.layers} for name in _BY_LAYER
        }
        replace_attention(model)
        self.hidden = sorted(layers["hidden"])
        self.scores = ScoreReader(model, layers["attention"]) if layers["attention"] else None
        self.needs_logits = any(o.feature in ("logits", "labels") for o in objectives)
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


class Distiller(nn.Module):
    """The student, the projections of its hidden states, and the objectives; returns one loss for each example.

    The projections W_m (TinyBERT, equations 8 and 9) are trained, clipped and checkpointed with the student, and left
    behind when the student is saved: `per-layer` has one for each hidden state, `shared` one for all, `none` none.
    `heads` is `match`, or `mean` to compare scores averaged over heads.
    """

    accepts_loss_kwargs = True  # tells the Trainer to count the examples of an optimiser step

    def __init__(
        self,
        student: PreTrainedModel,
        objectives: Sequence[Objective],
        teacher_hidden_size: int = 0,
        projection: str = "none",
        heads: str = "match",
    ):
        super().__init__()
        self.student = student
        self.objectives = list(objectives)
        self.projection = projection
        self.heads = heads
        replace_dropout(student)
        self.read = FeatureReader(student, objectives, side=0)
        count = {"per-layer": len(self.read.hidden), "shared": 1, "none": 0}[projection]
        sizes = (student.config.hidden_size, teacher_hidden_size)
        layers = [nn.Linear(*sizes) for _ in range(count if self.read.hidden else 0)]
        for layer in layers:  # as BERT initialises its own
            nn.init.normal_(layer.weight, std=getattr(student.config, "initializer_range", 0.02))
            nn.init.zeros_(layer.bias)
        self.projections = nn.ModuleList(layers)
        self._freeze_untrained()

    def forward(self, batch: Mapping[str, Tensor], teacher: Features | None) -> dict[str, Tensor]:
        """Objective name -> unweighted losses (B,)."""
        features = self.read(self.student, batch)
        return {o.name: self._loss(o, features, teacher, batch) for o in self.objectives}

    def _loss(self, o: Objective, own: Features, teacher: Features | None, batch: Mapping[str, Tensor]) -> Tensor:
        if o.feature == "labels":
            return o.loss(own.logits, batch["labels"])
        assert teacher is not None
        if o.feature == "logits":
            return o.loss(own.logits, teacher.logits)
        mask = batch["attention_mask"]
        losses = []
        for i, j in o.layers:
            ours: Tensor | QueriesAndKeys
            theirs: Tensor | QueriesAndKeys
            if o.feature == "hidden":
                ours, theirs = self._project(own.hidden[i], i), teacher.hidden[j]
            else:
                ours, theirs = own.attention[i], teacher.attention[j]
                if self.heads == "mean":
                    ours, theirs = ours.mean_over_heads(), theirs.mean_over_heads()
            losses.append(o.loss(ours, theirs, mask))
        return torch.stack(losses).sum(0)  # (layers, B) -> (B,)

    def _project(self, hidden: Tensor, layer: int) -> Tensor:
        """(B, L, D of the student) -> (B, L, D of the teacher)."""
        if not self.projections:
            return hidden
        place = self.read.hidden.index(layer) if self.projection == "per-layer" else 0
        return self.projections[place](hidden)

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

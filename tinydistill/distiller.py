"""What a phase trains: the student and its projections, compared with teachers by a list of objectives."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill import losses
from tinydistill.data import IDLE
from tinydistill.encoders.cpu.dropout import replace_dropout
from tinydistill.encoders.padding_row import keep_padding_row_zero
from tinydistill.ensemble import Ensemble
from tinydistill.features import FeatureReader, Features, Reader, reached_parameters
from tinydistill.layer_means import Compared, compared
from tinydistill.objectives import ANY_TEACHER, Objective
from tinydistill.of_last_step import Assignment, StepMean
from tinydistill.outputs import LEFT_OUT, OfExamples, Outputs
from tinydistill.schedules import Schedule, at_share

Width = int | Mapping[int, int]  # of all hidden states, or by layer


class Distiller(nn.Module):
    """The student, its projections (one for each compared hidden state, or one shared), and the objectives.

    `forward` gives every objective's loss for each example. Only `student` is served later.
    """

    # The Trainer asks for it where a checkpoint lacks names of tied weights, which safetensors keeps once.
    _keys_to_ignore_on_save: None = None

    def __init__(
        self,
        student: Any,
        objectives: Sequence[Objective],
        teacher_widths: Mapping[str, Width] | None = None,
        outputs: Outputs | None = None,
        ensemble: Ensemble | None = None,
        read: Reader | None = None,
        width: Width = 0,
    ):
        """student: a transformers model, or any module with `read` and `width`, which say what it gives.

        objectives: resolved (`resolving.resolve`). teacher_widths: what hidden states are projected to, by teacher. A
        width is one of all layers, or one by layer.
        outputs: which of them count, and how they are compared (`TaskKind.outputs`); one row an example by default.
        ensemble: what the mean of several teachers is.
        """
        super().__init__()
        self.student: Any = student
        self.objectives = list(objectives)
        self.outputs: Outputs = outputs or OfExamples()
        self.ensemble = ensemble
        config = getattr(student, "config", None)
        replace_dropout(student)
        if isinstance(student, PreTrainedModel):
            keep_padding_row_zero(student)
        self.read: Reader = read or FeatureReader(student, self.objectives, side=0)
        self._losses = {o.label: _function(o) for o in self.objectives}
        self._places: dict[tuple[str, int], int] = {}  # (objective, student's layer) -> which projection
        self.projections = nn.ModuleList(
            self._make_projections(width or getattr(config, "hidden_size", 0), teacher_widths or {})
        )
        for layer in self.projections.children():  # as BERT initialises its own
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=getattr(config, "initializer_range", 0.02))
            nn.init.zeros_(layer.bias)
        # Of objectives that take something from the step before; empty for the others.
        self.of_last_step = nn.ModuleDict({_key(o): made for o in self.objectives if (made := _of_last_step(o))})
        self.of_layers: dict[Compared, Tensor] = {}  # losses (layers, B) of the last training batch, for the log
        self.temperatures: dict[str, Tensor | float] = {}  # the last ones, by objective, as far as they change
        if read is None:
            self._freeze_unreached()

    def _make_projections(self, own: Width, widths: Mapping[str, Width]) -> Iterator[nn.Linear]:
        """Of each objective that compares hidden states: one a layer, in the order of the layers, or one."""
        count = 0
        for objective in self.objectives:
            if objective.feature != "hidden" or objective.projection == "none":
                continue
            layers = sorted(objective.layers_of(0))
            shared = objective.projection == "shared"
            for place, layer in enumerate(layers):
                self._places[objective.label, layer] = count + (0 if shared else place)
            theirs = widths[objective.teacher] if objective.teacher in widths else next(iter(widths.values()))
            for group in [layers] if shared else [[layer] for layer in layers]:
                count += 1
                yield nn.Linear(
                    _one_width(objective, own, group, "student"),
                    _one_width(objective, theirs, _partners(objective, group), "teacher"),
                )

    def forward(
        self, batch: Mapping[str, Tensor], teachers: Mapping[str, Features], done: float = 0.0
    ) -> dict[str, Tensor]:
        """Objective's name -> unweighted losses (B,). done: the share of the training's steps, for schedules."""
        self.of_layers = {}
        features = self.read(self.student, batch)
        return {o.label: self._loss(o, features, teachers, batch, done) for o in self.objectives}

    def end_step(self, total: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        """To be called after each optimizer step. total: sums a tensor over all processes."""
        for each in self.of_last_step.values():
            each.end_step(total)  # type: ignore[operator]

    def projection_rates(self) -> Iterator[tuple[float, Iterable[nn.Parameter]]]:
        """The learning rates of projections that have their own, with their parameters."""
        for rate in sorted({o.projection_learning_rate for o in self.objectives if o.projection_learning_rate}):
            own = {o.label for o in self.objectives if o.projection_learning_rate == rate}
            places = sorted({place for (label, _), place in self._places.items() if label in own})
            yield rate, [each for place in places for each in self.projections[place].parameters()]

    def _loss(
        self,
        o: Objective,
        own: Features,
        teachers: Mapping[str, Features],
        batch: Mapping[str, Tensor],
        done: float,
    ) -> Tensor:
        if not o.compares_layers:
            return self._of_outputs(o, own, teachers, batch, done)
        loss, teacher, mask = self._losses[o.label], _of(teachers, o.teacher), batch["attention_mask"]
        projected: dict[int, Tensor] = {}
        # On dev all pairs are compared, so that the loss there can be followed over the training.
        pairs = o.pairs_at(done) if self.training else o.pairs
        if not pairs:
            return torch.zeros(len(mask), device=mask.device)
        values = [loss(*self._compared(o, pair, own, teacher, projected), mask) for pair in pairs]
        stacked = torch.stack(values)  # (pairs, B)
        if o.assignment:
            return self.of_last_step[_key(o)](stacked.transpose(0, 1), IDLE not in batch)
        if self.training and len(o.pairs) > 1:
            self.of_layers[compared(o, pairs)] = stacked.detach()
        return stacked.sum(0)

    def _compared(
        self, o: Objective, pair: tuple[Any, Any], own: Features, teacher: Features, projected: dict[int, Tensor]
    ) -> tuple[Any, Any]:
        """What a loss compares of a pair of layers, or of a pair of pairs. projected: what was made for others."""
        i, j = pair
        if not isinstance(i, int):
            parts = [self._compared(o, each, own, teacher, projected) for each in zip(i, j, strict=True)]
            return tuple(part[0] for part in parts), tuple(part[1] for part in parts)
        if o.feature != "hidden":
            ours, theirs = own.attention[i], teacher.attention[j]
            if o.feature == "attention" and o.heads == "mean":
                return ours.mean_over_heads(), theirs.mean_over_heads()
            return ours, theirs
        if i not in projected:
            projected[i] = self._project(o, own.hidden[i], i)
        return projected[i], teacher.hidden[j]

    def _of_outputs(
        self,
        o: Objective,
        features: Features,
        teachers: Mapping[str, Features],
        batch: Mapping[str, Tensor],
        done: float,
    ) -> Tensor:
        """The loss of each example (B,): of its output, or a mean over those of its outputs that count."""
        assert features.logits is not None
        outputs, loss = self.outputs, self._losses[o.label]
        own = outputs.rows(features.logits, batch)
        if o.feature == "labels":
            values = loss(own, outputs.gold(batch))
        else:
            temperature = self._temperature(o, own, teachers, batch, done)
            theirs = self._logits(o, teachers, batch, temperature)
            if theirs.shape[1:] != own.shape[1:] and isinstance(o.loss, str):
                raise UserError(
                    f"the objective {o.label} compares {own.shape[-1]} logits of the student with {theirs.shape[-1]} "
                    "of the teacher; give the student an output for each of the teacher's"
                )
            if o.probability_shift:
                theirs = losses.shift_probability(theirs, outputs.gold(batch))
            values = loss(own, theirs, temperature)
            if o.temperature_squared:
                values = values * (temperature[:, 0] if isinstance(temperature, Tensor) else temperature) ** 2
        classes = outputs.classes(batch)
        if classes is not None and isinstance(o.loss, str) and losses.LOSSES[o.loss].mean_over_classes:
            values = values * own.shape[1] / classes  # the others, which are alike, add nothing to the sum
        return outputs.of_examples(values, batch)

    def _logits(
        self, o: Objective, teachers: Mapping[str, Features], batch: Mapping[str, Tensor], temperature: float | Tensor
    ) -> Tensor:
        """The teacher's logits, or the mean of all, (N, K)."""
        if o.teacher == ANY_TEACHER and len(teachers) > 1:
            assert self.ensemble is not None
            given = {name: of.logits for name, of in teachers.items() if of.logits is not None}
            parts = {name: self.outputs.rows(logits, batch) for name, logits in given.items()}
            mean = self.ensemble.mean(parts, temperature)
            one = next(iter(parts.values()))
            return torch.where(one == LEFT_OUT, one, mean)  # also of probabilities, whose logits are moved
        logits = _of(teachers, o.teacher).logits
        assert logits is not None
        return self.outputs.rows(logits, batch)

    def _temperature(
        self, o: Objective, own: Tensor, teachers: Mapping[str, Features], batch: Mapping[str, Tensor], done: float
    ) -> float | Tensor:
        """A number, or (N, 1) by row of outputs."""
        schedule = o.temperature
        if not isinstance(schedule, Schedule):
            return schedule
        if not schedule.is_by_example:
            self.temperatures[o.label] = schedule.at_share(done)
            return schedule.at_share(done)
        importance = schedule.importance(own, self._logits(o, teachers, batch, schedule.value))
        last = self.of_last_step[_key(o)]
        assert isinstance(last, StepMean)
        if self.training and IDLE not in batch:
            last.add(importance)
        mean = torch.where(last.is_known, last.mean, importance)  # in the first step all have the mean temperature
        found = schedule.temperatures(importance, mean)
        self.temperatures[o.label] = found.mean().detach()
        return found

    def _project(self, objective: Objective, hidden: Tensor, layer: int) -> Tensor:
        """(B, L, D of the student) -> (B, L, D of the teacher)."""
        place = self._places.get((objective.label, layer))
        if place is None:
            return hidden
        activation = _ACTIVATIONS.get(objective.projection)
        projected = self.projections[place](hidden)
        return activation(projected) if activation else projected

    def _freeze_unreached(self) -> None:
        """Freeze what no objective reaches (head and pooler, in the intermediate phase): it must keep its value, and
        distributed training takes a parameter without gradient for a mistake."""
        assert isinstance(self.read, FeatureReader)
        reached = reached_parameters(self.student, self.read)
        for parameter in self.student.parameters():
            if parameter not in reached:
                parameter.requires_grad = False

    def weights(self, done: float) -> dict[str, float]:
        """Each objective's weight when a share of the steps is done."""
        return {o.label: at_share(o.weight, done) for o in self.objectives}

    def scheduled(self, done: float) -> dict[str, float]:
        """The weights, temperatures and pairs of layers (from 1; 0 is none) that change, as they were in the last step,
        for the log."""
        found = {
            f"weight_{o.label}": at_share(o.weight, done) for o in self.objectives if isinstance(o.weight, Schedule)
        }
        found |= {f"pair_{o.label}": float(o.place_at(done) + 1) for o in self.objectives if o.one_by_one}
        return found | {f"temperature_{label}": float(value) for label, value in self.temperatures.items()}


_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


def _function(o: Objective) -> Callable[..., Tensor]:
    """The loss of an objective that was resolved: of two features and the mask, or of logits and a temperature."""
    function = o.loss if callable(o.loss) else losses.LOSSES[o.loss].function
    if o.feature == "logits" and "temperature" not in inspect.signature(function).parameters:
        return lambda own, theirs, _: function(own, theirs)
    if o.feature == "relations":
        return lambda own, theirs, mask: function(own, theirs, mask, o.relation_heads)
    return function


def _of_last_step(o: Objective) -> StepMean | Assignment | None:
    if o.assignment:
        return Assignment(len(o.layers_of(0)), len(o.layers_of(1)), o.update_every)
    if isinstance(o.temperature, Schedule) and o.temperature.is_by_example:
        return StepMean()
    return None


def _key(o: Objective) -> str:
    """A module's name may hold no dot."""
    return o.label.replace(".", "-")


def _partners(o: Objective, own: Iterable[int]) -> list[int]:
    """The teacher's layers that some of the student's are compared with."""
    return sorted({theirs for layer, theirs in o.layer_pairs if layer in set(own)})


def _one_width(o: Objective, width: Width, layers: Sequence[int], who: str) -> int:
    """What one projection takes or gives. Raises UserError if it is not known, or not one."""
    found = {width if isinstance(width, int) else width.get(layer, 0) for layer in layers}
    named = f"hidden {', '.join(map(str, layers))} of the {who}"
    if 0 in found:
        raise UserError(
            f"the width of {named} is not known before the first step, and the projection of the objective {o.label} "
            'needs it; give a train_dataset, or projection="none" if both models are equally wide'
        )
    if len(found) > 1:
        raise UserError(
            f"{named} are of different widths ({', '.join(map(str, sorted(found)))}), and one projection of the "
            f'objective {o.label} is for all of them; use projection="linear", or an objective for each'
        )
    return found.pop()


def _of(teachers: Mapping[str, Features], name: str) -> Features:
    """The features of the teacher that an objective names; "*" is the only one."""
    if name == ANY_TEACHER and len(teachers) == 1:
        return next(iter(teachers.values()))
    return teachers[name]

"""Objectives with all that they leave open filled in, for a task's kind, the models at hand and the run's options."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from glue_tasks.errors import UserError
from tinydistill import layer_map, losses
from tinydistill.objectives import ANY_TEACHER, Objective, Pair, check_loss, nearest, read_window
from tinydistill.options import Options
from tinydistill.schedules import Schedule

_MOST_RELATION_HEADS = 48  # MiniLMv2, section 4.1: of a teacher of BERT-base's width


@dataclass(frozen=True)
class Sizes:
    """What objectives ask of a model. 0 is not known, and not checked.

    widths: of the hidden states of layers that are not as wide as the model. attention: the width of all heads of a
    block side by side, where it is another than that of the hidden states.
    """

    layers: int = 0
    width: int = 0
    heads: int = 0
    widths: Mapping[int, int] = dataclasses.field(default_factory=dict)
    attention: int = 0

    def width_of(self, layer: int) -> int:
        """The width of a layer's hidden states."""
        return self.widths.get(layer, self.width)

    @staticmethod
    def of(config: PreTrainedConfig) -> "Sizes":
        width, heads = config.hidden_size, config.num_attention_heads
        attention = getattr(config, "true_hidden_size", None) or width  # MobileBERT's, of the inside of a block
        if of_a_head := getattr(config, "head_dim", None):
            attention = of_a_head * heads
        return Sizes(config.num_hidden_layers, width, heads, attention=attention)


_UNKNOWN = Sizes()
_DEFAULTS = Options()


def resolve(
    objectives: Iterable[Objective],
    of_kind: Mapping[str, str],
    student: Sizes = _UNKNOWN,
    teachers: Mapping[str, Sizes] | None = None,
    options: Options = _DEFAULTS,
    shares: Mapping[str, float] | None = None,
) -> tuple[Objective, ...]:
    """Each gets a name of its own, a loss, layers that are there, and a projection where widths ask for one.

    of_kind: feature -> name of the loss, for logits and labels (`kinds.TaskKind.losses`). teachers: by name. options:
    layer_map, projection, heads, temperature, loss_scale. shares: what each teacher counts; equal by default. An
    objective of layers that names no teacher becomes one of each. Raises UserError if an objective does not fit.
    """
    known = dict(teachers or {})
    filled: list[Objective] = []
    times: Counter[str] = Counter()
    for given in objectives:
        check_loss(given, f"the objective {given.label}")
        for each in _of_each_teacher(given, known, shares or {}):
            label = each.label
            times[label] += 1
            each = dataclasses.replace(each, name=label if times[label] == 1 else f"{label}-{times[label]}")
            filled.append(_Filling(each, student, known, of_kind, options).fill())
    _check_all_steps_count(filled)
    return tuple(filled)


def _of_each_teacher(
    given: Objective, teachers: Mapping[str, Sizes], shares: Mapping[str, float]
) -> Iterator[Objective]:
    if given.teacher not in (ANY_TEACHER, *teachers) and given.feature != "labels":
        there = f"there is one, {next(iter(teachers))!r}" if len(teachers) == 1 else f"there are {', '.join(teachers)}"
        raise UserError(
            f"the objective {given.label} names the teacher {given.teacher!r}; "
            f"{there if teachers else 'there is none'}{nearest(given.teacher, teachers)}"
        )
    if given.teacher != ANY_TEACHER or not given.compares_layers or len(teachers) < 2:
        yield given
        return
    for name in teachers:
        share = shares.get(name, 1 / len(teachers))
        if share:
            weight = scaled(given.weight, share)
            yield dataclasses.replace(given, teacher=name, name=f"{given.label}-{name}", weight=weight)


def _check_all_steps_count(objectives: Iterable[Objective]) -> None:
    """Raises UserError if there are steps in which all objectives are 0."""
    windows = sorted(each.one_by_one for each in objectives)
    until = 0.0
    for window in windows:
        if not window:
            return
        if window[0] > until:
            break
        until = max(until, window[1])
    if windows and until < 1:
        raise UserError(
            f"no objective counts from {until:g} of the training on, where one_by_one leaves all of them out; let one "
            "reach further, or add an objective without it"
        )


def scaled(weight: float | Schedule, by: float) -> float | Schedule:
    """A weight times a number."""
    if isinstance(weight, Schedule):
        values = tuple(value * by for value in weight.values)
        return dataclasses.replace(weight, value=weight.value * by, to=weight.to * by, values=values)
    return weight * by


@dataclass(frozen=True)
class _Filling:
    """One objective and all that decides about it."""

    each: Objective
    student: Sizes
    teachers: Mapping[str, Sizes]
    of_kind: Mapping[str, str]
    options: Options

    def fill(self) -> Objective:
        each, options = self.each, self.options
        loss: Any = each.loss or {**_OF_LAYERS, **self.of_kind}.get(each.feature)
        if loss is None:
            raise UserError(f"the objective {each.label} names no loss; for {each.feature} there is none by default")
        if isinstance(loss, str):
            loss = losses.ALIASES.get(loss, loss)
            if options.loss_scale == "reference":
                loss = losses.IN_ORIGINAL_CODE.get(loss, loss)
        if each.student_layers and self.student.layers not in (0, each.student_layers):
            raise UserError(
                f"the objective {each.label} is for a student of {each.student_layers} layers, and it has "
                f"{self.student.layers}; take the preset of {self.student.layers} layers"
            )
        self._check_fields()
        each = dataclasses.replace(
            each,
            loss=loss,
            heads=each.heads or options.heads,
            # A value has no softmax: the run's temperature is not for it.
            temperature=each.temperature or (1.0 if loss == "logits_mse" and not each.loss else options.temperature),
            layers=(),
            projection="none",
        )
        if not each.compares_layers:
            return each
        known = losses.LOSSES.get(loss) if isinstance(loss, str) else None
        self._check_heads(each.heads, known is not None and known.equal_heads)
        each = dataclasses.replace(each, layers=self._layers(two=known is not None and known.takes == "two"))
        each = dataclasses.replace(each, projection=self._projection(known is None or known.equal_widths, each))
        if each.feature == "relations":
            each = dataclasses.replace(each, relation_heads=self._relation_heads())
        return each

    @property
    def teacher(self) -> Sizes:
        """The one that is compared with; its layers are those of all if it is not named."""
        return self.teachers.get(self.each.teacher, next(iter(self.teachers.values()), _UNKNOWN))

    def _check_fields(self) -> None:
        """Raises UserError for what is set and would be ignored."""
        each = self.each
        for field in dataclasses.fields(each):
            features = _ONLY_FOR.get(field.name, ())
            if features and each.feature not in features and getattr(each, field.name) != field.default:
                raise UserError(
                    f"the objective {each.label} has {field.name}, which is for {', '.join(features)}; leave it out"
                )
        if each.one_by_one:
            read_window(each.one_by_one, f"the objective {each.label}")
            if each.assignment:
                raise UserError(
                    f"the objective {each.label} has one_by_one and assigns all layers; leave out one of the two"
                )
        if each.update_every != 1 and not each.assignment:
            raise UserError(f"the objective {each.label} has update_every, which is for an assignment; leave it out")
        one_label = self.of_kind.get("logits", "soft_cross_entropy") == "soft_cross_entropy"
        if each.probability_shift and not one_label:
            raise UserError(f"the objective {each.label} has probability_shift, which is for tasks of one label each")

    def _check_heads(self, heads: str, must_agree: bool) -> None:
        own, theirs = self.student.heads, self.teacher.heads
        if must_agree and heads == "match" and own and theirs and own != theirs:
            raise UserError(
                f"the student has {own} heads, the teacher {theirs}; choose a student of {theirs} heads, or compare "
                'the mean over heads with --heads mean, or relations, which need no equal heads (the preset "minilm")'
            )

    def _projection(self, must_agree: bool, filled: Objective) -> str:
        """filled: the objective with its layers."""
        if self.each.feature != "hidden":
            return "none"
        given = self.each.projection
        projection = self.options.projection if given in ("", "auto") else given
        own, theirs = self._widths(filled)
        if projection == "auto":
            return "linear" if must_agree and own != theirs else "none"
        if not must_agree and given in ("", "auto"):
            return "none"  # the run's option is for those that need it
        if projection == "none" and must_agree and own and theirs and own != theirs:
            raise UserError(
                f"the student is {own} wide, the teacher {theirs}: without a projection they cannot be compared; use "
                "--projection per-layer or shared"
            )
        return "linear" if projection == "per-layer" else projection

    def _widths(self, filled: Objective) -> tuple[int, int]:
        """Of the first pair of layers that are not equally wide, if there is one, else of the models."""
        found = [(self.student.width_of(own), self.teacher.width_of(theirs)) for own, theirs in filled.layer_pairs]
        fallback = found[:1] or [(self.student.width, self.teacher.width)]
        return next((each for each in found if each[0] != each[1]), fallback[0])

    def _relation_heads(self) -> int:
        own, theirs = (sizes.attention or sizes.width for sizes in self._sides)
        given = self.each.relation_heads
        common = math.gcd(own, theirs)
        if not given:
            return max(count for count in range(1, _MOST_RELATION_HEADS + 1) if common % count == 0)
        if common % given:
            raise UserError(
                f"the objective {self.each.label} splits into {given} relation heads, which do not divide the "
                f"student's width {own} and the teacher's {theirs} of all attention heads; they can be the divisors of "
                f"{common}"
            )
        return given

    # Layers

    def _layers(self, two: bool) -> tuple[Any, ...]:
        """Pairs, or pairs of pairs, of layers that are there."""
        if self.each.assignment:
            if self.each.layers != "map" or two:
                raise UserError(
                    f"the objective {self.each.label} assigns all layers; leave out `layers`, and take a loss of one "
                    "layer of each model"
                )
            ranges = [range(self._first_block, self._first_block + sizes.layers) for sizes in self._sides]
            return tuple((own, theirs) for own in ranges[0] for theirs in ranges[1])
        layers: tuple[Any, ...]
        if isinstance(self.each.layers, str):
            layers = self._named_layers(self.each.layers)
            return tuple(((own, own), (theirs, theirs)) for own, theirs in layers) if two else layers
        layers = self.each.layers
        if any((not isinstance(pair[0], int)) != two for pair in layers):
            wanted = "two layers of each model: [[[0, 1], [0, 2]]]" if two else "one layer of each model: [[0, 0]]"
            raise UserError(f"the objective {self.each.label} has pairs of layers {layers}; its loss takes {wanted}")
        return tuple((self._there(own, 0), self._there(theirs, 1)) for own, theirs in layers)

    @property
    def _sides(self) -> tuple[Sizes, Sizes]:
        return self.student, self.teacher

    @property
    def _first_block(self) -> int:
        """What the first block is called: hidden states count from the embeddings' output."""
        return 1 if self.each.feature == "hidden" else 0

    def _named_layers(self, name: str) -> tuple[Any, ...]:
        if name == "last":
            return ((self._there(-1, 0), self._there(-1, 1)),)
        maps = layer_map.choose(self.options.layer_map, self.teacher.layers, self.student.layers)
        if self.each.feature == "hidden":
            return maps.hidden if name == "map" else maps.hidden[1:]
        return maps.attention

    def _there(self, layer: int | Pair, side: int) -> int | Pair:
        """A layer that a recipe names, counted from 0. Raises UserError if there is none."""
        if not isinstance(layer, int):
            return tuple(self._there(each, side) for each in layer)  # type: ignore[return-value]
        depth = self._sides[side].layers
        if not depth:  # of a model that nothing is known of
            return layer
        count = depth + self._first_block
        if not -count <= layer < count:
            raise UserError(
                f"the objective {self.each.label} compares {self.each.feature} {layer} of the "
                f"{('student', 'teacher')[side]}; there are 0 to {count - 1}"
            )
        return layer % count


# Which features a field means something for; elsewhere it would be ignored.
_LAYERS = ("hidden", "attention", "relations")
_ONLY_FOR = {
    "layers": _LAYERS,
    "one_by_one": _LAYERS,
    "assignment": _LAYERS,
    "projection": ("hidden",),
    "projection_learning_rate": ("hidden",),
    "heads": ("attention",),
    "relation_heads": ("relations",),
    "temperature": ("logits",),
    "temperature_squared": ("logits",),
    "probability_shift": ("logits",),
    "teacher": (*_LAYERS, "logits"),
}
# The losses of layers where none is named.
_OF_LAYERS = {"attention": "attention_mse", "hidden": "hidden_mse"}

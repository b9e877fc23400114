"""An objective is a loss, the layers it pairs, and a weight; a phase is a list of them."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from glue_tasks.errors import UserError
from tinydistill import schedules
from tinydistill.schedules import Schedule

if TYPE_CHECKING:
    from torch import Tensor

# What is compared: the teacher's hidden states, attention scores, relations between tokens or logits; or the student's
# outputs and gold labels.
Feature = Literal["", "hidden", "attention", "relations", "logits", "labels"]
Loss = Callable[..., "Tensor"]  # one value for each example; its arguments by feature stand in losses/
Pair = tuple[int, int]
Layers = Literal["map", "blocks", "last"] | tuple[Pair | tuple[Pair, Pair], ...]
_NAMED_LAYERS = ("map", "blocks", "last")
PROJECTIONS = ("auto", "linear", "relu", "tanh", "per-layer", "shared", "none")
HEADS = ("match", "mean")

ANY_TEACHER = "*"  # all of them
TEACHER = "teacher"  # what a single one is called


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One line of a phase.

    feature: what is compared; "" is that of the loss.
    loss: a name in losses.LOSSES or TextBrewer's for it, a function of your own with the same arguments, or "" for that
    of the task's kind (logits, labels) or of TinyBERT (hidden, attention).
    layers: pairs of (student, teacher) whose losses are summed. "map" is the run's layer map, "blocks" the same without
    the embeddings, "last" the last layer of both. Hidden states count from the embeddings' output, 0; attention and
    relations from the first block, 0; negative numbers count from the last, -1. Losses that compare two layers of a
    model take pairs of pairs, ((student, student), (teacher, teacher)); of a map each layer with itself.
    one_by_one: (a, b), shares of the training: the pairs of layers are trained one after another in their order, each
    alone for an equal part of the steps from a to b; before and after the objective is 0. () is all pairs in all steps.
    assignment: "emd" weighs all pairs of layers by optimal transport, anew after every `update_every` steps.
    projection: from the student's hidden states to the teacher's, a matrix a layer: linear (or per-layer), relu, tanh;
    shared, one linear for all; none. "" and "auto" are the run's option. projection_learning_rate: 0 is the phase's.
    heads, temperature: "" and 0 are the run's options of that name. relation_heads: 0 is the most, to 48, that divide
    both models' widths. temperature_squared: the loss is multiplied by t², so that gradients are alike at any.
    probability_shift: the teacher's largest logit and that of the gold label are exchanged first.
    teacher: its name, or "*" for all: the mean of their outputs, or of the losses of layers.
    student_layers: the depth of the student it is made for; 0 is any.
    """

    feature: Feature = ""
    loss: str | Loss = ""
    layers: Layers = "map"
    one_by_one: tuple[float, ...] = ()
    assignment: str = ""
    update_every: int = 1
    projection: str = ""
    projection_learning_rate: float = 0.0
    heads: str = ""
    relation_heads: int = 0
    weight: float | Schedule = 1.0
    temperature: float | Schedule = 0.0
    temperature_squared: bool = False
    probability_shift: bool = False
    teacher: str = ANY_TEACHER
    student_layers: int = 0
    name: str = ""  # in the log and the report; "" is the feature

    def __post_init__(self) -> None:
        if not self.feature and isinstance(self.loss, str) and self.loss:
            from tinydistill import losses  # takes PyTorch's time to import; --help goes without

            feature = losses.FEATURES.get(losses.ALIASES.get(self.loss, self.loss), "")
            object.__setattr__(self, "feature", feature)

    @property
    def compares_layers(self) -> bool:
        return self.feature in ("hidden", "attention", "relations")

    @property
    def label(self) -> str:
        return self.name or self.feature

    @property
    def pairs(self) -> tuple[Any, ...]:
        """The pairs of layers, or pairs of pairs, of an objective that was resolved; none for outputs."""
        assert not isinstance(self.layers, str)
        return self.layers

    @property
    def layer_pairs(self) -> list[Pair]:
        """(student, teacher) of all pairs; of pairs of pairs, the first of each model and the second of each."""
        nested = ([pair] if isinstance(pair[0], int) else list(zip(*pair, strict=True)) for pair in self.pairs)
        return [each for group in nested for each in group]

    def layers_of(self, side: Literal[0, 1]) -> set[int]:
        """The layers of the student (0) or the teacher (1) that an objective that was resolved reads."""
        ends = [pair[side] for pair in self.pairs]
        return {layer for end in ends for layer in ((end,) if isinstance(end, int) else end)}

    def pairs_at(self, done: float) -> tuple[Any, ...]:
        """The pairs that are trained when a share of the training's steps is done: all, or at most one."""
        if not self.one_by_one:
            return self.pairs
        place = self.place_at(done)
        return self.pairs[place : place + 1] if place >= 0 else ()

    def place_at(self, done: float) -> int:
        """Which pair `one_by_one` trains when a share of the training's steps is done, from 0; -1 is none."""
        start, end = self.one_by_one
        if not start <= done < end:
            return -1
        # A share that is a whole number of parts may be a rounding less: the pair would come a step late.
        return min(int((done - start) / (end - start) * len(self.pairs) + _ROUNDING), len(self.pairs) - 1)

    @property
    def needs_labels(self) -> bool:
        return self.feature == "labels" or self.probability_shift

    def describe(self) -> dict[str, Any]:
        """Its fields as JSON has them, those alone that are not the default; a function by its name."""
        fields = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default or field.name in _ALWAYS_SHOWN
        }
        if callable(self.loss):
            fields["loss"] = f"{getattr(self.loss, '__module__', '')}.{getattr(self.loss, '__qualname__', self.loss)}"
        for name in ("weight", "temperature"):
            if isinstance(value := fields.get(name), Schedule):
                fields[name] = value.describe()
        return fields

    @staticmethod
    def from_table(table: Mapping[str, Any], where: str) -> "Objective":
        """An objective as a recipe writes it. Raises UserError."""
        fields = {field.name: field for field in dataclasses.fields(Objective)}
        for key in table:
            if key not in fields:
                raise UserError(f"{where} sets {key!r}, which is no field of an objective{nearest(key, fields)}")
        given = dict(table)
        for key, kind in _TYPES.items():
            if key in given and type(given[key]) is not kind and not (kind is float and type(given[key]) is int):
                raise UserError(f"{where} sets {key} to {given[key]!r}; it is {_IN_WORDS[kind]}")
        _check_loss_name(given.get("loss", ""), where)
        features = get_args(Feature)[1:]
        if given.get("feature") not in (features if not given.get("loss") else (None, *features)):
            raise UserError(f"{where} has the feature {given.get('feature')!r}; it can be {', '.join(features)}")
        if "layers" in given:
            given["layers"] = _read_layers(given["layers"], where)
        if "one_by_one" in given:
            given["one_by_one"] = read_window(given["one_by_one"], where)
        for key in ("weight", "temperature"):
            if key in given:
                given[key] = schedules.parse(given[key], key, where)
        for key, choices in _CHOICES.items():
            if given.get(key, "") not in ("", *choices):
                raise UserError(f"{where} sets {key} to {given[key]!r}; it can be {', '.join(choices)}")
        for key, least in (("update_every", 1), ("projection_learning_rate", 0), ("relation_heads", 0)):
            if given.get(key, 1) < least:
                raise UserError(f"{where} sets {key} to {given[key]!r}; it must be {least} or more")
        made = Objective(**given)
        check_loss(made, where)
        return made


_ROUNDING = 1e-9
_ALWAYS_SHOWN = ("feature", "loss", "layers", "weight")
_CHOICES = {"projection": PROJECTIONS, "heads": HEADS, "assignment": ("emd",)}
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("feature", "loss", "projection", "heads", "assignment", "teacher", "name"), str),
    **dict.fromkeys(("update_every", "relation_heads", "student_layers"), int),
    **dict.fromkeys(("temperature_squared", "probability_shift"), bool),
    "projection_learning_rate": float,
}
_IN_WORDS = {str: "a text in quotes", int: "a whole number", bool: "true or false", float: "a number"}


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was probably meant, or ""."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _read_layers(value: Any, where: str) -> Layers:
    """`layers` as a recipe writes it. Raises UserError."""

    def is_pair(pair: Any) -> bool:
        return isinstance(pair, list | tuple) and [type(each) for each in pair] == [int, int]

    def is_pair_of_pairs(pair: Any) -> bool:
        return isinstance(pair, list | tuple) and len(pair) == 2 and all(map(is_pair, pair))

    if isinstance(value, str):
        if value in _NAMED_LAYERS:
            return value  # type: ignore[return-value]
    elif isinstance(value, list | tuple) and value:
        if all(map(is_pair, value)):
            return tuple((own, theirs) for own, theirs in value)
        if all(map(is_pair_of_pairs, value)):
            return tuple(((own[0], own[1]), (theirs[0], theirs[1])) for own, theirs in value)
    named = ", ".join(f'"{name}"' for name in _NAMED_LAYERS)
    raise UserError(
        f"{where} sets layers to {value!r}; it is {named}, a list of pairs such as [[0, 0], [1, 2]], or of pairs of "
        "pairs of student and teacher such as [[[0, 1], [0, 2]]]"
    )


def read_window(value: Any, where: str) -> tuple[float, float]:
    """`one_by_one` as a recipe or Python has it. Raises UserError if it is no two shares, the first one smaller."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(each) in (int, float) for each in value):
        start, end = map(float, value)
        if 0 <= start < end <= 1:
            return start, end
    raise UserError(
        f"{where} sets one_by_one to {value!r}; it is two shares of the training from 0 to 1, when its first pair of "
        "layers starts and when its last one ends, such as [0.0, 0.2]"
    )


def _check_loss_name(name: str, where: str) -> None:
    from tinydistill import losses  # takes PyTorch's time to import; --help goes without

    known = [*losses.LOSSES, *losses.ALIASES]
    if name and name not in known:
        raise UserError(
            f"{where} has the loss {name!r}, which there is not{nearest(name, known)}; "
            "`python -m tinydistill objectives` lists all"
        )


def check_loss(objective: Objective, where: str) -> None:
    """Raises UserError if a loss is named that there is not, or that is of another feature."""
    from tinydistill import losses  # takes PyTorch's time to import; --help goes without

    if callable(objective.loss):
        if not objective.feature:
            raise UserError(f"{where} has a loss of your own; say which feature it compares")
        return
    if not objective.loss:
        if not objective.feature:
            raise UserError(f"{where} has neither a loss nor a feature; give one of them")
        return
    _check_loss_name(objective.loss, where)
    fitting = [name for name, feature in losses.FEATURES.items() if feature == objective.feature]
    if losses.ALIASES.get(objective.loss, objective.loss) not in fitting:
        raise UserError(
            f"{where} has the loss {objective.loss!r} for {objective.feature}; for that there are {', '.join(fitting)}"
        )

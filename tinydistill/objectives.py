"""An objective is a feature, a loss, the layers it pairs, and a weight; a phase is a list of them."""

import dataclasses
import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from glue_tasks.errors import UserError
from tinydistill.layer_map import LayerMap

if TYPE_CHECKING:
    from torch import Tensor

# What is compared: the teacher's hidden states, attention scores or logits; or the student's outputs and gold labels.
Feature = Literal["hidden", "attention", "logits", "labels"]
Loss = Callable[..., "Tensor"]  # one value for each example; its arguments by feature stand in losses.py
Layers = Literal["map"] | tuple[tuple[int, int], ...]

ANY_TEACHER = "*"  # the only one
TEACHER = "teacher"  # what a single one is called


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One line of a phase.

    loss: a name in losses.LOSSES, a function of your own with the same arguments, or "" for that of the task's kind
    (logits, labels) or of TinyBERT (hidden, attention). layers: pairs of (student, teacher) whose losses are summed;
    "map" is the run's layer map. Hidden states count from the embeddings' output, 0; attention from the first block, 0.
    projection, heads, temperature: "" and 0 are the run's options of that name. teacher: its name, or "*".
    """

    feature: Feature
    loss: str | Loss = ""
    layers: Layers = "map"
    projection: str = ""
    heads: str = ""
    weight: float = 1.0
    temperature: float = 0.0
    teacher: str = ANY_TEACHER
    name: str = ""  # in the log and the report; "" is the feature

    @property
    def compares_layers(self) -> bool:
        return self.feature in ("hidden", "attention")

    @property
    def label(self) -> str:
        return self.name or self.feature

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs of layers of an objective that was resolved; none for outputs."""
        assert self.layers != "map"
        return self.layers

    def function(self) -> Loss:
        """The loss of an objective that was resolved."""
        from tinydistill import losses  # takes PyTorch's time to import; --help goes without

        if callable(self.loss):
            return self.loss
        found = losses.LOSSES[self.loss].function
        takes_temperature = "temperature" in inspect.signature(found).parameters
        return partial(found, temperature=self.temperature) if takes_temperature else found

    def describe(self) -> dict[str, Any]:
        """Its fields as JSON has them; a function by its name."""
        fields = dataclasses.asdict(self)
        if callable(self.loss):
            fields["loss"] = f"{getattr(self.loss, '__module__', '')}.{getattr(self.loss, '__qualname__', self.loss)}"
        return fields

    @staticmethod
    def from_table(table: Mapping[str, Any], where: str) -> "Objective":
        """An objective as a recipe writes it. Raises UserError."""
        fields = {field.name: field for field in dataclasses.fields(Objective)}
        for key in table:
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"{where} sets {key!r}, which is no field of an objective{hint}")
        given = dict(table)
        if given.get("feature") not in get_args(Feature):
            raise UserError(
                f"{where} has the feature {given.get('feature')!r}; it can be {', '.join(get_args(Feature))}"
            )
        if isinstance(pairs := given.get("layers"), list):
            if not pairs or not all(isinstance(p, list) and [type(x) for x in p] == [int, int] for p in pairs):
                raise UserError(f"{where} sets layers to {pairs!r}; it is a list of pairs such as [[0, 0], [1, 2]]")
            given["layers"] = tuple((own, theirs) for own, theirs in pairs)
        elif given.get("layers", "map") != "map":
            raise UserError(
                f'{where} sets layers to {pairs!r}; it is "map" or a list of pairs such as [[0, 0], [1, 2]]'
            )
        for key in ("weight", "temperature"):
            value = given.get(key, 1.0)
            if type(value) not in (int, float) or not 0 < value < float("inf"):
                raise UserError(f"{where} sets {key} to {value!r}; it is a number above 0")
            if key in given:
                given[key] = float(value)
        for key in ("loss", "projection", "heads", "teacher", "name"):
            if not isinstance(given.get(key, ""), str):
                raise UserError(f"{where} sets {key} to {given[key]!r}; it is a text in quotes")
        for key, choices in _CHOICES.items():
            if given.get(key, "") not in choices:
                raise UserError(f"{where} sets {key} to {given[key]!r}; it can be {', '.join(choices[1:])}")
        made = Objective(**given)
        check_loss(made, where)
        return made


_CHOICES = {"projection": ("", "auto", "per-layer", "shared", "none"), "heads": ("", "match", "mean")}


def check_loss(objective: Objective, where: str) -> None:
    """Raises UserError if a loss is named that there is not, or that is of another feature."""
    from tinydistill import losses  # takes PyTorch's time to import; --help goes without

    if callable(objective.loss) or not objective.loss:
        return
    fitting = [name for name, feature in losses.FEATURES.items() if feature == objective.feature]
    if objective.loss not in fitting:
        raise UserError(
            f"{where} has the loss {objective.loss!r} for {objective.feature}; for that there are {', '.join(fitting)}"
        )


# The losses of layers where none is named, and what every loss is called by another --loss-scale.
_OF_LAYERS = {"attention": "attention_mse", "hidden": "hidden_mse"}


def resolve(
    objectives: Iterable[Objective],
    of_kind: Mapping[str, str],
    layer_map: LayerMap = LayerMap(()),  # noqa: B008 - frozen
    projection: str = "none",
    heads: str = "match",
    temperature: float = 1.0,
    loss_scale: str = "valid",
) -> tuple[Objective, ...]:
    """The objectives with all that they leave open filled in: for a task's kind, two models and the run's options.

    of_kind: feature -> name of the loss, for logits and labels (`kinds.TaskKind.losses`). Each gets a name of its own.
    """
    from tinydistill import losses  # takes PyTorch's time to import; --help goes without

    filled: list[Objective] = []
    times: Counter[str] = Counter()
    for each in objectives:
        check_loss(each, f"the objective {each.label}")
        if each.teacher not in (ANY_TEACHER, TEACHER):
            raise UserError(f"the objective {each.label} names the teacher {each.teacher!r}; there is one, {TEACHER!r}")
        times[each.label] += 1
        loss = each.loss or {**_OF_LAYERS, **of_kind}[each.feature]
        if isinstance(loss, str) and loss_scale == "reference":
            loss = losses.IN_ORIGINAL_CODE.get(loss, loss)
        layers: Layers = each.layers if each.compares_layers else ()
        if layers == "map":
            layers = layer_map.attention if each.feature == "attention" else layer_map.hidden
        filled.append(
            dataclasses.replace(
                each,
                loss=loss,
                layers=layers,
                projection=projection if each.projection in ("", "auto") else each.projection,
                heads=each.heads or heads,
                temperature=each.temperature or temperature,
                name=each.label if times[each.label] == 1 else f"{each.label}-{times[each.label]}",
            )
        )
    return tuple(filled)

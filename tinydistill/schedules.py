"""Weights and temperatures that change with the step, or with the example.

x is the share of the steps that are done, from 0 to 1. By example (temperatures alone), z_S and z_T are the logits of
student and teacher, and T is `value`:

| schedule      | value                                                | source                                        |
|---------------|------------------------------------------------------|-----------------------------------------------|
| constant      | value                                                |                                               |
| linear        | value + (to - value) x                               | TinyBERT's learning rates, and others         |
| linear_decay  | value (1 - x)                                        | TextBrewer, `linear_decay`                    |
| linear_growth | value x                                              | TextBrewer, `linear_growth`                   |
| cosine        | to + (value - to) (1 + cos pi x) / 2                 | Loshchilov and Hutter (arXiv 1608.03983)      |
| steps         | values[k], with k the number of `at` that x reached  |                                               |
| flsw          | T + beta (mean w - w), w = (1 - cos(z_S, z_T))^gamma | TextBrewer; focal loss (arXiv 1708.02002)     |
| cwsm          | T + beta (mean w - w), w = 1 / (max softmax z_S)     | TextBrewer                                    |

TextBrewer takes the mean over the batch, by which a result depends on the sentences that share one, and lets
temperatures fall below 0. Here the mean is that of the step before, and no temperature falls below 0.1.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from glue_tasks.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

BY_STEP = ("constant", "linear", "linear_decay", "linear_growth", "cosine", "steps")
BY_EXAMPLE = ("flsw", "cwsm")
LOWEST_TEMPERATURE = 0.1
_LEAST_CHANCE = 1e-3  # added to the largest chance in cwsm, as in TextBrewer


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a weight or a temperature changes; see the table above."""

    schedule: str
    value: float = 1.0
    to: float = 0.0  # linear, cosine
    at: tuple[float, ...] = ()  # steps: shares of the training, rising
    values: tuple[float, ...] = ()  # steps: one more than `at`
    beta: float = 1.0  # flsw, cwsm
    gamma: float = 1.0  # flsw

    @property
    def is_by_example(self) -> bool:
        return self.schedule in BY_EXAMPLE

    def at_share(self, done: float) -> float:
        """The value when a share of the steps is done; of a schedule by example the mean one."""
        match self.schedule:
            case "linear":
                return self.value + (self.to - self.value) * done
            case "linear_decay":
                return self.value * (1 - done)
            case "linear_growth":
                return self.value * done
            case "cosine":
                return self.to + (self.value - self.to) * (1 + math.cos(math.pi * done)) / 2
            case "steps":
                return self.values[sum(done >= share for share in self.at)]
        return self.value

    def importance(self, student: "Tensor", teacher: "Tensor") -> "Tensor":
        """w of each row, (N,), for a schedule by example, without a gradient. student, teacher: logits (N, C)."""
        import torch.nn.functional as F  # takes its time to import; --help goes without

        from tinydistill.outputs import LEFT_OUT

        own, theirs = student.detach().float(), teacher.detach().float()
        if self.schedule == "flsw":
            counts = theirs > LEFT_OUT / 2  # those that do not are alike in both, and would make all rows alike
            own, theirs = own * counts, theirs * counts
            return (1 - F.cosine_similarity(own, theirs, dim=-1)).clamp(min=0) ** self.gamma
        return 1 / (own.softmax(-1).amax(-1) + _LEAST_CHANCE)

    def temperatures(self, importance: "Tensor", mean: "Tensor | float") -> "Tensor":
        """Temperatures, (N, 1), of rows of some importance, beside its mean over many rows."""
        return (self.value + self.beta * (mean - importance)).clamp(min=LOWEST_TEMPERATURE)[:, None]

    def describe(self) -> dict[str, Any]:
        """Its fields as JSON has them, those alone that are not the default."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value by step."""
        ends = self.values if self.schedule == "steps" else (self.at_share(0.0), self.at_share(1.0))
        return min(ends), max(ends)


def at_share(value: float | Schedule, done: float) -> float:
    """A number, or what a schedule makes of it."""
    return value.at_share(done) if isinstance(value, Schedule) else value


def parse(value: Any, key: str, where: str) -> float | Schedule:
    """A weight or a temperature as a recipe writes it: a number, a name, or a table. Raises UserError.

    key: "weight" or "temperature". Weights are 0 or more at every step and not always 0, temperatures more than 0.
    """
    if type(value) in (int, float):
        if not 0 < value < math.inf:
            raise UserError(f"{where} sets {key} to {value!r}; it is a number above 0")
        return float(value)
    if isinstance(value, str):
        value = {"schedule": value}
    if not isinstance(value, Mapping):
        raise UserError(f'{where} sets {key} to {value!r}; it is a number, or a table {{schedule = "linear_decay"}}')
    made = Schedule(**_checked(value, key, where))
    lowest, highest = made.bounds
    if lowest < 0 or not highest < math.inf or (key == "weight" and highest == 0):
        raise UserError(f"{where} has a {key} from {lowest:g} to {highest:g}; it must be 0 or more, and not always 0")
    if key == "temperature" and lowest < LOWEST_TEMPERATURE:
        raise UserError(
            f"{where} has a temperature that falls to {lowest:g}; the lowest that makes sense is {LOWEST_TEMPERATURE}"
        )
    return made


def _checked(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """The fields of a Schedule. Raises UserError for a wrong name or type."""
    kinds = {field.name: field.type for field in fields(Schedule)}
    for name in table:
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{where} sets {name!r} in {key}, which is no field of a schedule{hint}")
    known = BY_STEP + (BY_EXAMPLE if key == "temperature" else ())
    if (given := table.get("schedule")) not in known:
        near = difflib.get_close_matches(str(given), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{where} has the schedule {given!r} for {key}; it can be {', '.join(known)}{hint}")
    found: dict[str, Any] = {}
    for name, value in table.items():
        is_list = name in ("at", "values")
        numbers = value if is_list and isinstance(value, list | tuple) else [value]
        if name != "schedule" and (
            (is_list and numbers is not value) or not all(type(each) in (int, float) for each in numbers)
        ):
            what = "a list of numbers" if is_list else "a number"
            raise UserError(f"{where} sets {name} in {key} to {value!r}; it is {what}")
        found[name] = tuple(map(float, numbers)) if is_list else value if name == "schedule" else float(value)
    shares, values = found.get("at", ()), found.get("values", ())
    if found["schedule"] == "steps":
        rising = all(0 < share < 1 for share in shares) and sorted(set(shares)) == list(shares)
        if not (rising and shares and len(values) == len(shares) + 1):
            raise UserError(
                f"{where} has steps for {key} at {list(shares)} with the values {list(values)}; write rising shares of "
                "the training and one value more, such as at = [0.5], values = [1.0, 0.1]"
            )
    elif shares or values:
        raise UserError(f"{where} sets at or values in {key}, which belong to the schedule steps")
    return found

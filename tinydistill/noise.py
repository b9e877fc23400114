"""Noise on training texts: pieces are masked, deleted, shuffled, or a few of them taken, anew in each epoch.

What a teacher says of such texts teaches a student more than the texts alone (Tang et al. 2019, arXiv 1903.12136,
section 3.3; the operations and their defaults are those of TextBrewer, arXiv 2002.12620, but for n-grams, which it
always takes: the 0.25 is Tang et al.'s). Labels of the texts are not those of the noised ones: it needs a teacher.

| name          | values, with their defaults                                                                     |
|---------------|-------------------------------------------------------------------------------------------------|
| ngrams        | 0.25: probability that a text becomes 1 to 5 neighbouring pieces of it; 5: the most of them      |
| deleting      | 0.1: probability of each piece                                                                  |
| long-shuffle  | 0.1: probability at each piece that the 20 from it on swap their halves; 20: how many, or, up to |
|               | 1, which share of the text                                                                      |
| short-shuffle | 0.1, 0, 0, 0: probabilities at each piece that the three from it on, abc, become bac, cba, cab   |
|               | or bca                                                                                          |
| masking       | 0.1: probability of each piece                                                                  |

They are done in this order. A text is what lies between two special tokens: each of a pair by itself.

Every function takes pieces (n,), of any integers, and a generator of which it asks `random(size)` alone, uniform
numbers in [0, 1); it gives new ones and leaves at least one of any.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from glue_tasks.errors import UserError


class Random(Protocol):
    """What is asked of numpy's Generator."""

    def random(self, size: int, /) -> np.ndarray: ...


def take_ngram(pieces: np.ndarray, random: Random, probability: float = 0.25, longest: float = 5) -> np.ndarray:
    """With the probability, n neighbouring pieces; n is drawn from 1 to `longest`, then the place, both evenly."""
    drawn, of_length, of_place = random.random(3)
    if drawn >= probability or not len(pieces):
        return pieces
    length = min(1 + int(of_length * longest), len(pieces))
    start = int(of_place * (len(pieces) - length + 1))
    return pieces[start : start + length]


def delete(pieces: np.ndarray, random: Random, probability: float = 0.1) -> np.ndarray:
    """Each piece goes with the probability; if all would, one of them stays, each as likely."""
    drawn = random.random(len(pieces))
    kept = drawn >= probability
    if len(pieces) and not kept.any():
        kept[drawn.argmax()] = True
    return pieces[kept]


def shuffle_far(pieces: np.ndarray, random: Random, probability: float = 0.1, length: float = 20) -> np.ndarray:
    """At each piece in turn, with the probability, the next `length` swap their halves; the walk goes on after them.

    length: in pieces, an odd one counts one more; up to 1, a share of the text. A shorter text is not changed.
    """
    half = max((int(length * len(pieces) if length <= 1 else length) + 1) // 2, 1)
    drawn = random.random(len(pieces))
    found, at = pieces.copy(), 0
    while at + 2 * half <= len(pieces):
        if drawn[at] < probability:
            found[at : at + 2 * half] = np.roll(found[at : at + 2 * half], half)
            at += 2 * half
        else:
            at += 1
    return found


def shuffle_near(pieces: np.ndarray, random: Random, *probabilities: float) -> np.ndarray:
    """At each piece in turn the next three, abc, become bac, cba, cab or bca, each with its probability (0.1, 0, 0, 0).

    The walk goes on after the pieces that moved: two in bac, else three. Of the last two, any change swaps them.
    """
    steps = np.cumsum(probabilities or _SHORT)
    drawn = random.random(len(pieces))
    found, at = pieces.copy(), 0
    while at < len(pieces) - 1:
        choice = int((drawn[at] >= steps).sum())
        if choice == len(steps):
            at += 1
            continue
        order = _ORDERS[choice] if at < len(pieces) - 2 else _ORDERS[0]
        found[at : at + len(order)] = found[[at + place for place in order]]
        at += len(order)
    return found


def mask(pieces: np.ndarray, random: Random, mask_id: int, probability: float = 0.1) -> np.ndarray:
    """Each piece becomes the mask with the probability."""
    return np.where(random.random(len(pieces)) < probability, mask_id, pieces)


_SHORT = (0.1, 0.0, 0.0, 0.0)
_ORDERS = ((1, 0), (2, 1, 0), (2, 0, 1), (1, 2, 0))  # bac, cba, cab, bca


@dataclass(frozen=True)
class _Operation:
    function: Callable[..., np.ndarray]
    defaults: tuple[float, ...]
    what: tuple[str, ...]  # each value: "probability", "number" or "length"


_OPERATIONS = {
    "ngrams": _Operation(take_ngram, (0.25, 5), ("probability", "number")),
    "deleting": _Operation(delete, (0.1,), ("probability",)),
    "long-shuffle": _Operation(shuffle_far, (0.1, 20), ("probability", "length")),
    "short-shuffle": _Operation(shuffle_near, _SHORT, ("probability",) * 4),
    "masking": _Operation(mask, (0.1,), ("probability",)),
}
MASKING = "masking"
Noise = Mapping[str, tuple[float, ...]]  # the values of operations by their names, in the order in which they are done


def parse(text: str) -> Noise:
    """`masking=0.1,short-shuffle=0.1:0:0.05` as operations with all their values. Raises UserError if it is none."""
    found: dict[str, tuple[float, ...]] = {}
    for part in text.split(","):
        name, equals, values = (each.strip() for each in part.partition("="))
        if name not in _OPERATIONS:
            near = difflib.get_close_matches(name, _OPERATIONS, n=1)
            raise UserError(
                f"noise has {name!r}; "
                + (f"did you mean {near[0]}?" if near else f"it can be {', '.join(_OPERATIONS)}, with commas between")
            )
        if name in found:
            raise UserError(f"noise has {name} twice; give it once")
        found[name] = _values(name, values.split(":") if equals else [])
    return {name: found[name] for name in _OPERATIONS if name in found}


def to_text(noise: Noise) -> str:
    """As `parse` reads it, with all values: the same for all ways of writing the same."""
    return ",".join(f"{name}={':'.join(f'{value:.10g}' for value in values)}" for name, values in noise.items())


def _values(name: str, given: list[str]) -> tuple[float, ...]:
    operation = _OPERATIONS[name]
    if len(given) > len(operation.defaults):
        raise UserError(f"noise {name} has {len(given)} values; it takes {len(operation.defaults)} at most")
    try:
        values = (*map(float, given), *operation.defaults[len(given) :])
    except ValueError:
        raise UserError(
            f"noise {name} has {':'.join(given)!r}; give a number, or several with colons between"
        ) from None
    for what, value in zip(operation.what, values, strict=True):
        if what == "probability" and not 0 <= value <= 1:
            raise UserError(f"noise {name} has a probability of {value:.10g}; it must be from 0 to 1")
        whole = value >= 1 and value % 1 == 0  # also not NaN, nor infinite
        if (what == "number" and not whole) or (what == "length" and not (whole or 0 < value < 1)):
            share = ", or a share below 1" if what == "length" else ""
            raise UserError(f"noise {name} has {value:.10g} pieces; it must be a whole number of 1 or more{share}")
    if name == "short-shuffle" and sum(values) > 1 + 1e-9:
        raise UserError(
            f"noise {name} has probabilities that add up to {sum(values):.10g}; they must add up to 1 or less"
        )
    return values


def add_noise(pieces: np.ndarray, noise: Noise, random: Random, mask_id: int | None) -> np.ndarray:
    """One text's pieces (n,) after all operations of `noise`. mask_id: None where nothing is masked."""
    for name, values in noise.items():
        operation = _OPERATIONS[name]
        pieces = operation.function(pieces, random, *((mask_id,) if name == MASKING else ()), *values)
    return pieces


def noised_row(
    row: Mapping[str, Any], noise: Noise, random: Random, special: Collection[int], mask_id: int | None
) -> dict[str, Any]:
    """A row with noise on each of its texts: in `input_ids`, `token_type_ids` where it has them; the rest as it is.

    special: ids of the pieces that stand between texts. They stay, each where it was among the texts. A text ends also
    where the segment changes. An `attention_mask` is of the new length.
    """
    ids = np.asarray(row["input_ids"])  # (L,)
    types = np.asarray(row["token_type_ids"]) if "token_type_ids" in row else np.zeros_like(ids)
    is_special = np.isin(ids, list(special))
    changes = (np.diff(is_special.astype(np.int8)) != 0) | (np.diff(types) != 0)
    borders = [0, *(np.flatnonzero(changes) + 1).tolist(), len(ids)]
    parts: list[np.ndarray] = []
    of_type: list[np.ndarray] = []
    for start, end in pairwise(borders):
        part = ids[start:end]
        if start < end and not is_special[start]:
            part = add_noise(part, noise, random, mask_id)
        parts.append(part)
        of_type.append(np.full(len(part), types[start] if start < end else 0, types.dtype))
    noised = {**row, "input_ids": np.concatenate(parts).tolist()}
    if "token_type_ids" in row:
        noised["token_type_ids"] = np.concatenate(of_type).tolist()
    if "attention_mask" in row:
        noised["attention_mask"] = [1] * len(noised["input_ids"])
    return noised

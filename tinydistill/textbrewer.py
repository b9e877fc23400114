"""Settings of TextBrewer's DistillationConfig, read as objectives.

Source: TextBrewer 0.2.1 (Yang et al. 2020, arXiv 2002.12620; https://github.com/airaria/TextBrewer),
src/textbrewer/configurations.py. What it ignores or gets wrong is said in notes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from tinydistill import losses, schedules
from tinydistill.objectives import Objective, nearest
from tinydistill.schedules import Schedule

_DEFAULTS: Mapping[str, Any] = {
    "temperature": 4,
    "temperature_scheduler": "none",
    "hard_label_weight": 0,
    "hard_label_weight_scheduler": "none",
    "kd_loss_type": "ce",
    "kd_loss_weight": 1,
    "kd_loss_weight_scheduler": "none",
    "probability_shift": False,
    "intermediate_matches": None,
    "is_caching_logits": False,
}
_OF_A_MATCH = ("layer_T", "layer_S", "feature", "loss", "weight", "proj")
_BROKEN = ("custom_matches",)
_SCHEDULES = ("linear_decay", "linear_growth")


@dataclass(frozen=True)
class Reading:
    """What was read: objectives for one phase, and what differs from TextBrewer."""

    objectives: tuple[Objective, ...]
    notes: tuple[str, ...]

    def to_toml(self, phase: str = "prediction") -> str:
        """The objectives as a recipe has them, with the notes as comments."""
        lines = [f"# {note}" for note in self.notes]
        for objective in self.objectives:
            lines += ["", f"[[{phase}.objectives]]"]
            lines += [f"{key} = {_toml(value)}" for key, value in objective.describe().items()]
        return "\n".join([*lines, ""]).lstrip("\n")


def from_textbrewer(settings: Mapping[str, Any] | str | Path) -> Reading:
    """Objectives that do what a DistillationConfig says: its settings, or the JSON file that holds them.

    Attention layers count from 1 as in TextBrewer's presets, or from 0 where layer 0 is among them. Raises UserError
    for settings that TextBrewer does not have, or that cannot be read.
    """
    if not isinstance(settings, Mapping):
        settings = _read(Path(settings))
    for name in settings:
        if name not in (*_DEFAULTS, *_BROKEN):
            raise UserError(f"{name!r} is no setting of TextBrewer's DistillationConfig{nearest(name, _DEFAULTS)}")
    given = {**_DEFAULTS, **settings}
    if not isinstance(given["intermediate_matches"] or [], list):
        raise UserError(f"intermediate_matches is {given['intermediate_matches']!r}; it is a list of matches")
    notes = [
        "TextBrewer weighs all tokens of a batch alike; here all examples count the same, whatever their length",
        *(f"{name} is left out: it ends in a KeyError in TextBrewer" for name in _BROKEN if settings.get(name)),
    ]
    found: list[Objective] = []
    if given["kd_loss_weight"] or given["kd_loss_weight_scheduler"] != "none":
        found.append(_of_logits(given, notes))
    if given["hard_label_weight"] or given["hard_label_weight_scheduler"] != "none":
        weight = _weight(given, "hard_label_weight", notes)
        found.append(Objective(feature="labels", weight=weight))
    found += _of_matches(given["intermediate_matches"] or [], notes)
    if given["is_caching_logits"]:
        notes.append("is_caching_logits: a teacher's outputs are kept on disk wherever they are all that is compared")
    if not found:
        raise UserError("the settings leave no loss: kd_loss_weight is 0, and there are no matches and no gold labels")
    return Reading(tuple(found), tuple(notes))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (ValueError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is not the JSON of a DistillationConfig: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not the JSON of a DistillationConfig: it holds no object")
    return found


def _of_logits(given: Mapping[str, Any], notes: list[str]) -> Objective:
    if given["kd_loss_type"] not in ("ce", "mse"):
        raise UserError(f"kd_loss_type is {given['kd_loss_type']!r}; in TextBrewer it is ce or mse")
    temperature: float | Schedule = _number(given, "temperature")
    scheduler = given["temperature_scheduler"]
    name, *numbers = scheduler if isinstance(scheduler, list | tuple) and scheduler else [scheduler]
    if name not in ("none", "constant"):
        keys = {"flsw": ("beta", "gamma"), "cwsm": ("beta",)}.get(str(name))
        if keys is None:
            raise UserError(f"temperature_scheduler is {scheduler!r}; it can be none, constant, flsw or cwsm")
        table = {"schedule": name, "value": temperature, **dict(zip(keys, numbers, strict=False))}
        temperature = schedules.parse(table, "temperature", "temperature_scheduler")
        notes.append(
            f"{name}: the mean is that of the step before, not of the batch, and no temperature falls below "
            f"{schedules.LOWEST_TEMPERATURE} (in TextBrewer they can be negative)"
        )
    if given["probability_shift"]:
        notes.append(
            "probability_shift: TextBrewer's fails with a logits_mask, and takes a negative label from the end"
        )
    return Objective(
        feature="logits",
        loss=losses.ALIASES[given["kd_loss_type"]],
        weight=_weight(given, "kd_loss_weight", notes),
        temperature=temperature,
        probability_shift=bool(given["probability_shift"]),
    )


def _weight(given: Mapping[str, Any], key: str, notes: list[str]) -> float | Schedule:
    value, name = _number(given, key), given[f"{key}_scheduler"]
    if name in ("none", "constant", None):
        return value
    if name not in _SCHEDULES:
        raise UserError(f"{key}_scheduler is {name!r}; it can be none, {', '.join(_SCHEDULES)}")
    notes.append(f"{key} follows {name} from 0 to 1 or back: TextBrewer's schedules replace the weight {value:g}")
    return Schedule(schedule=name)


def _number(given: Mapping[str, Any], key: str) -> float:
    value = given[key]
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise UserError(f"{key} is {value!r}; it is a number, 0 or more")
    return float(value)


def _of_matches(matches: list[Any], notes: list[str]) -> Iterator[Objective]:
    """An objective for all matches of the same loss, weight and projection."""
    first = 0 if any(_has_layer_0(match) for match in matches) else 1
    if any(isinstance(match, Mapping) and match.get("feature") == "attention" for match in matches):
        notes.append(
            f"attention layers count from {first}"
            + (
                ", as in TextBrewer's presets: with transformers' models it takes the next block, and has no last one"
                if first
                else ""
            )
        )
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for place, match in enumerate(matches):
        where = f"intermediate_matches[{place}]"
        if not isinstance(match, Mapping) or not {"layer_T", "layer_S", "feature", "loss"} <= match.keys():
            raise UserError(f"{where} is {match!r}; it needs layer_T, layer_S, feature and loss")
        for name in match:
            if name not in _OF_A_MATCH:
                raise UserError(f"{where} sets {name!r}, which is nothing of a match{nearest(name, _OF_A_MATCH)}")
        loss = losses.ALIASES.get(str(match["loss"]), str(match["loss"]))
        if losses.FEATURES.get(loss) != match["feature"]:
            raise UserError(
                f"{where} has the loss {match['loss']!r} for {match['feature']!r}, which TextBrewer does not have"
                f"{nearest(loss, [*losses.LOSSES, *losses.ALIASES])}"
            )
        pair = tuple(_layer(match[key], first, match["feature"], where) for key in ("layer_S", "layer_T"))
        weight = _number({"weight": match.get("weight", 1)}, "weight")
        if weight:
            groups.setdefault((loss, weight, *_projection(match.get("proj"), where, notes)), []).append(pair)
    for (loss, weight, projection, rate), pairs in groups.items():
        yield Objective(
            loss=loss,
            weight=weight,
            layers=tuple(pairs),
            projection=projection,
            projection_learning_rate=rate,
            name=loss,
        )


def _has_layer_0(match: Any) -> bool:
    return (
        isinstance(match, Mapping)
        and match.get("feature") == "attention"
        and 0 in (match.get("layer_T"), match.get("layer_S"))
    )


def _layer(value: Any, first: int, feature: str, where: str) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(_layer(each, first, feature, where) for each in value)
    if type(value) is not int or value < 0:
        raise UserError(f"{where} names the layer {value!r}; it is a number, or a list of two")
    return value - first if feature == "attention" else value


def _projection(given: Any, where: str, notes: list[str]) -> tuple[str, float]:
    """Its kind, and the learning rate of its own or 0."""
    if not given:
        return "", 0.0
    parts = list(given) if isinstance(given, list | tuple) else [given]
    kind, options = parts[0], parts[3] if len(parts) > 3 else {}
    if kind not in ("linear", "relu", "tanh"):
        raise UserError(f"{where} has the projection {kind!r}; it can be linear, relu or tanh")
    if not isinstance(options, Mapping):
        raise UserError(f'{where} has the options {options!r} of its projection; they are such as {{"lr": 1e-3}}')
    if others := sorted(options.keys() - {"lr"}):
        notes.append(
            f"{where}: {', '.join(others)} of the projection are left out; its learning rate alone can be its own"
        )
    return kind, _number({f"the learning rate of {where}": options.get("lr", 0.0)}, f"the learning rate of {where}")


def _toml(value: Any) -> str:
    """A value of `describe` as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)

"""Lists of objectives by name.

TextBrewer's are made by rule for any depth: `L4t_hidden_mse` compares the hidden states of a student of 4 layers with
those of every third of a teacher of 12, or every sixth of 24; `L4` and `L4t`, the same for a student of BERT-base's
width and a narrow one, differ in nothing here, since projections are inferred from the widths.
Source: TextBrewer, examples/matches (https://github.com/airaria/TextBrewer); the papers are named beside each.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from glue_tasks.errors import UserError
from tinydistill.objectives import Objective, nearest
from tinydistill.schedules import Schedule

Objectives = tuple[Objective, ...]


@dataclass(frozen=True)
class Preset:
    """A row of the table of presets."""

    objectives: Objectives
    source: str


_LOGITS = Objective(feature="logits")
_HOT = Objective(feature="logits", temperature=8.0)  # TextBrewer's examples
_HIDDEN = Objective(feature="hidden", loss="hidden_mse")
_WARM_UP = 0.2  # the share of MobileBERT's layer by layer training: 500,000 of 2,500,000 steps in Chinese-MobileBERT
_AFTERWARDS = Schedule(schedule="steps", at=(_WARM_UP,), values=(0.0, 0.5))
_SELECTIVITY = Objective(feature="hidden", loss="neuron_selectivity", name="hidden_smmd")

PRESETS: Mapping[str, Preset] = {
    "logits": Preset((_LOGITS,), "TinyBERT, eq. 10 (arXiv 1909.10351); Hinton et al. (arXiv 1503.02531)"),
    "labels": Preset((Objective(feature="labels"),), "supervised"),
    "hinton": Preset(
        (
            Objective(feature="logits", temperature=4.0, temperature_squared=True, weight=0.9),
            Objective(feature="labels", weight=0.1),
        ),
        "Hinton et al. (arXiv 1503.02531), section 2; the weights are a usual choice",
    ),
    "tinybert": Preset(
        (Objective(feature="attention", loss="attention_mse"), Objective(feature="hidden", loss="hidden_mse")),
        "TinyBERT, eq. 7 to 9",
    ),
    "pkd": Preset(
        (
            Objective(feature="labels", weight=0.3),
            Objective(feature="logits", temperature=10.0, weight=0.7),
            Objective(feature="hidden", loss="cls_direction", layers="blocks", weight=100.0, name="cls"),
        ),
        "PKD (arXiv 1908.09355), section 3.2; its weights are searched for each task, these lie within",
    ),
    "minilm": Preset(
        tuple(
            Objective(feature="relations", loss=loss, layers="last", name=name)
            for loss, name in (("query_relations", "queries"), ("key_relations", "keys"), ("value_relations", "values"))
        ),
        "MiniLMv2 (arXiv 2012.15828), section 3",
    ),
    "general-tinybert": Preset(
        (
            Objective(feature="attention", loss="attention_mse"),
            Objective(feature="hidden", loss="hidden_mse", projection="shared"),
        ),
        "TinyBERT, section 3.2, general distillation; its code has one projection for all layers",
    ),
    "general-minirbt": Preset(
        (_HOT, _HIDDEN),
        "MiniRBT (https://github.com/iflytek/MiniRBT), pretraining/train.py: at masked pieces, temperature 8",
    ),
    "mobilebert": Preset(
        (
            Objective(feature="hidden", loss="feature_map_mse", layers="blocks"),
            Objective(feature="attention", loss="attention_kl"),
        ),
        "MobileBERT (arXiv 2004.02984), eq. 1, with states normalised as in its code, and 2",
    ),
    "general-mobilebert": Preset(
        (
            *(
                Objective(
                    feature="hidden", loss=loss, name=name, layers="blocks", one_by_one=(0.0, _WARM_UP), weight=weight
                )
                for loss, name, weight in (
                    ("feature_map_mse", "feature_map", 100.0),
                    ("feature_mean_mse", "feature_mean", 5000.0),
                    ("feature_variance_difference", "feature_variance", 5.0),
                )
            ),
            Objective(feature="attention", loss="attention_kl", layers="blocks", one_by_one=(0.0, _WARM_UP)),
            Objective(feature="labels", weight=_AFTERWARDS),
            Objective(feature="logits", temperature=1.0, weight=_AFTERWARDS),
        ),
        "MobileBERT's code (arXiv 2004.02984), with the shares of https://github.com/ymcui/Chinese-MobileBERT",
    ),
    "bert-emd": Preset(
        (
            Objective(feature="hidden", loss="hidden_mse", assignment="emd"),
            Objective(feature="attention", loss="attention_mse", assignment="emd"),
            Objective(feature="hidden", loss="hidden_mse", layers=((0, 0),), name="embeddings"),
            _LOGITS,
        ),
        "BERT-EMD (arXiv 2010.06133), section 3",
    ),
}
_MATCHES: Mapping[str, Objective] = {
    "hidden_mse": _HIDDEN,
    "hidden_smmd": _SELECTIVITY,
    "hidden_sgram": Objective(feature="hidden", loss="gram_mse", name="hidden_sgram"),
    "attention_mse": Objective(feature="attention", loss="attention_mse"),
    "attention_mse_sum": Objective(feature="attention", loss="attention_mse_sum"),
    "attention_ce": Objective(feature="attention", loss="attention_cross_entropy"),
    "attention_ce_mean": Objective(feature="attention", loss="attention_cross_entropy_mean"),
}
_DEPTH_OF_SMALL = 12
# What TextBrewer's README trains its students with, by rule: `textbrewer-l4t` and so on.
RULES = {
    "L<layers>_<match>, L<layers>n_<match>, L<layers>t_<match>": f"match: {', '.join(_MATCHES)}; the run's layer map",
    "small_<match>": "every second layer of 12 with the same one of 12",
    "textbrewer-l<layers>, -l<layers>n, -l<layers>t, -small": "logits at temperature 8, hidden_mse and hidden_smmd",
}


def preset(name: str, where: str = "") -> Objectives:
    """The objectives of a preset, or the one of a loss, by name. where: what names it. Raises UserError."""
    from tinydistill import losses  # takes PyTorch's time to import; --help goes without

    if name in PRESETS:
        return PRESETS[name].objectives
    if match := re.fullmatch(r"(L[1-9]\d*[nt]?|small)_(\w+)", name):
        if match[2] in _MATCHES:
            return (_match(match[1], match[2]),)
        known = [f"{match[1]}_{kind}" for kind in _MATCHES]
        raise UserError(f"{where} has the preset {name!r}, which there is not{nearest(name, known)}")
    if match := re.fullmatch(r"textbrewer-(l[1-9]\d*[nt]?|small)", name):
        prefix = match[1].upper().replace("N", "n").replace("T", "t") if match[1] != "small" else "small"
        return (_HOT, _match(prefix, "hidden_mse"), _match(prefix, "hidden_smmd"))
    if name in losses.LOSSES or name in losses.ALIASES:
        return (Objective(loss=losses.ALIASES.get(name, name)),)
    known = [*PRESETS, *(f"L4_{kind}" for kind in _MATCHES), *losses.LOSSES, *losses.ALIASES]
    raise UserError(
        f"{where} has {name!r}, which is no preset and no loss{nearest(name, known)}; "
        "`python -m tinydistill objectives` lists them"
    )


def _match(prefix: str, kind: str) -> Objective:
    """TextBrewer's objective of one of its prefixes, such as `L4t`."""
    made = _MATCHES[kind]
    if prefix != "small":
        return dataclasses.replace(made, student_layers=int(re.sub(r"\D", "", prefix)))
    first = 0 if made.feature == "hidden" else 1
    layers: Any = tuple((i, i) for i in range(2 * first, _DEPTH_OF_SMALL + 1, 2))
    if made.feature == "attention":  # which counts blocks from 0, TextBrewer from 1
        layers = tuple((i - 1, i - 1) for i, _ in layers)
    if kind in ("hidden_smmd", "hidden_sgram"):
        layers = tuple((pair, pair) for pair in layers)
    return dataclasses.replace(made, layers=layers, student_layers=_DEPTH_OF_SMALL)


def read_objectives(entries: Iterable[Mapping[str, Any] | str | Objective], where: str) -> Objectives:
    """A list of objectives: tables as in a recipe, names of presets and losses, objectives. Raises UserError."""
    found: list[Objective] = []
    for entry in entries:
        if isinstance(entry, str):
            found += preset(entry, where)
        else:
            found.append(entry if isinstance(entry, Objective) else Objective.from_table(entry, where))
    return tuple(found)

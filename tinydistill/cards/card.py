"""What the cards of all students say alike: what a student was made from, by which phases, and with what."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from tinydistill.phases import PHASES
from tinydistill.shapes import SHAPES

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
# Of a phase's settings: what a reader wants to know of it, as far as it is set.
_TOLD = (
    *("epochs", "max_steps", "learning_rate", "schedule", "batch_size", "max_length", "temperature", "seed"),
    *("precision", "projection", "layer_map", "heads", "noise", "corpus_rows", "masking", "mask_share"),
)


def card(lines: Iterable[str], **metadata: Any) -> ModelCard:
    """A page below the hub's metadata."""
    header = ModelCardData(library_name="transformers", **metadata)
    return ModelCard(f"---\n{header.to_yaml()}\n---\n\n" + "\n".join(lines))


def hub_ids(given: Iterable[Any]) -> list[str]:
    """Those of the models that are ids of the hub, not folders or shapes. A value may be of several, by name too."""
    names: list[str] = []
    for of in given:
        names += [of] if isinstance(of, str) else list(of.values() if isinstance(of, Mapping) else of or ())
    return [name for name in dict.fromkeys(names) if _is_hub_id(name)]


def _is_hub_id(name: str) -> bool:
    is_form = name.lower() in SHAPES or name.startswith(("init:", "shape:"))
    return bool(_HUB_ID.fullmatch(name)) and not is_form and not Path(name).exists()


def objectives_of(phase: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objectives of a phase, as a record has them; [] if they are not known."""
    built_in = PHASES.get(phase.rpartition("/")[2])
    return settings.get("objectives") or ([each.describe() for each in built_in.objectives] if built_in else [])


def how(phase: str, settings: Mapping[str, Any], seen: str) -> str:
    """A line about a phase: what the student learns from there, what it has `seen`, and the settings."""
    given = objectives_of(phase, settings)
    named = [f"{each['feature']} ({each['loss']})" if each.get("loss") else str(each["feature"]) for each in given]
    from_what = " and ".join(named).replace("labels", "gold labels") or "its teacher"
    left_out = ("mask_share",) if settings.get("masking") == "none" else ()
    told = [key for key in _TOLD if settings.get(key) not in (None, "", 0) and key not in left_out]
    written = ", ".join(f"{key} {_written(settings[key])}" for key in told)
    return f"- **{phase}** learns from {from_what}: {seen}; {written}"


def made_with(versions: Mapping[str, str]) -> str:
    told = ", ".join(f"{package} {versions[package]}" for package in ("tinydistill", "torch", "transformers"))
    return f"Made with {told}."


def loading(loader: str, repo_id: str) -> Iterator[str]:
    """The first lines of code that uses a student."""
    yield from ("import torch", f"from transformers import {loader}, AutoTokenizer", "")
    yield f'name = "{repo_id}"' if repo_id else 'name = "."  # this folder'
    yield "tokenizer = AutoTokenizer.from_pretrained(name)"
    yield f"model = {loader}.from_pretrained(name).eval()"


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)

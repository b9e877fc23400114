"""Configurations, tokenizers and weights, loaded from a folder or the hub; what cannot be is one sentence."""

import pickle
import struct
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from glue_tasks.errors import UserError

# Loading a pretrained body under a new head is what we do; transformers' table about it says nothing new.
logging.set_verbosity_error()
logging.disable_progress_bar()


def load_config(name: str) -> PreTrainedConfig:
    """The configuration of a folder or hub id; UserError if there is none."""
    return load_pretrained(AutoConfig, name)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id; UserError if it is missing or has no fast form."""
    tokenizer = load_pretrained(AutoTokenizer, name)
    # From a folder without its files transformers makes one to which every word is unknown.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{name} holds no tokenizer beside its model; copy there that of the model it was made from "
            "(tokenizer.json or vocab.txt)"
        )
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {name} has no fast form; save it with one (tokenizer.json)")
    return tokenizer


# What is raised for a file of weights that is cut off or no such file, besides torch's RuntimeError.
_DAMAGED = (SafetensorError, pickle.UnpicklingError, struct.error, EOFError)
_WHAT = {AutoConfig: "configuration", AutoTokenizer: "tokenizer"}  # else a model


def load_pretrained(auto_class: Any, name: str, **options: object) -> Any:
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local and not folder.is_dir():
        raise UserError(f"there is no model folder {name}; give a folder that holds config.json, or a hub id")
    if looks_local and not (folder / "config.json").is_file():
        raise UserError(f"the folder {name} holds no config.json; give one that `save_pretrained` wrote")
    try:
        return auto_class.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, StrictDataclassError, *_DAMAGED) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, _DAMAGED) or "PytorchStreamReader" in reason:
            raise UserError(
                f"the weights of {name} are damaged or cut off; copy or make them again ({reason})"
            ) from None
        if isinstance(error, RuntimeError):  # out of memory, or a fault of ours
            raise
        what = _WHAT.get(auto_class, "model")
        if looks_local:
            raise UserError(f"cannot load the {what} of {name}; check the folder's files ({reason})") from None
        raise UserError(
            f"there is no folder {name} here, and the {what} of that name could not be had from the hub either; check "
            f"the path, or download it to a folder on a machine with a network ({reason})"
        ) from None

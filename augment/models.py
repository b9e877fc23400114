"""Masked LMs as they are loaded, and on which device and at which precision they run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging

from glue_tasks import UserError
from tinydistill.encoders.limits import position_limit


def load_masked_lm(name: str) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer, from a folder or the hub.

    Raises UserError if it is not there, has no trained masked-LM head, or its tokenizer is not a fast one with a mask.
    """
    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, info = AutoModelForMaskedLM.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:2])
        raise UserError(
            f"{name} has no trained masked-LM head (missing: {missing}, ...); use a pretrained model such as "
            "bert-base-uncased, not one fine-tuned for a task"
        )
    # From a folder without its files transformers makes one to which every word is unknown.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{name} holds no tokenizer beside its model; copy there that of the model it was made from "
            "(tokenizer.json or vocab.txt)"
        )
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {name} is not a fast one, which alone tells where its pieces stand in a text"
        )
    if tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer of {name} has no mask token; use a model such as BERT or RoBERTa")
    return model, tokenizer


def longest_input(model: Any, tokenizer: Any) -> int:
    """Pieces that the model can take at once, special ones included."""
    return min(tokenizer.model_max_length, position_limit(model) or tokenizer.model_max_length)


def choose_device(name: str) -> torch.device:
    """Raises UserError if there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # torch's own message runs over many lines
        raise UserError(f"there is no device {name!r} here; use --device auto, cpu or cuda") from None
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """ "bf16", "float32" or "int8"; "auto" is bf16 where the hardware has it, else float32.

    Raises UserError for another name, and for int8 on a GPU, whose products of integers want more rows than there may
    be.
    """
    if name == "int8" and device.type != "cpu":
        raise UserError("--precision int8 is for the CPU; take bf16 here, or --device cpu")
    if name in ("bf16", "float32", "int8"):
        return name
    if name != "auto":
        raise UserError(f"--precision is auto, bf16, float32 or int8, not {name!r}")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()  # true with AMX, which came later
    return "bf16" if native else "float32"


def hub_commit(name: str) -> str | None:
    """The commit of the hub's model that `name` stands for here: the one in the cache, or the newest."""
    with _loading(name):
        return AutoConfig.from_pretrained(name)._commit_hash


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    """Errors as a UserError, and no progress bar or table of missing weights: it would stand between ours."""
    path = Path(name)
    if not path.is_dir() and (path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise UserError(f"there is no model folder {name}; name one that holds config.json, or a hub id, with --mlm")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"the folder {name} holds no model, as it has no config.json; name another with --mlm")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:  # what from_pretrained raises
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load a masked LM from {name!r}, as a folder or from the hub: {reason}") from None
    finally:
        logging.enable_progress_bar()
        logging.set_verbosity(verbosity)

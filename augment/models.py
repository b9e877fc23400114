"""Masked LMs as they are loaded, and on which device and at which precision they run."""

from typing import Any

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

from glue_tasks import UserError
from tinydistill.encoders.limits import position_limit
from tinydistill.encoders.load import load_config, load_model, load_tokenizer


def load_masked_lm(name: str) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer, from a folder or the hub.

    Raises UserError if it is not there or damaged, has no trained masked-LM head, or its tokenizer has no mask or more
    pieces than the model.
    """
    config = load_config(name)
    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise UserError(
            f"{name} is no masked LM, which transformers does not have for the type {config.model_type}; use a "
            "pretrained model such as bert-base-uncased"
        )
    tokenizer = load_tokenizer(name)
    model, info = load_model(AutoModelForMaskedLM, name)
    if missing := sorted(info["missing_keys"]) + sorted(key for key, *_ in info["mismatched_keys"]):
        raise UserError(
            f"{name} has no trained masked-LM head (missing: {', '.join(missing[:2])}, ...); use a pretrained model "
            "such as bert-base-uncased, not one fine-tuned for a task"
        )
    if tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer of {name} has no mask token; use a model such as BERT or RoBERTa")
    pieces, rows = max(tokenizer.get_vocab().values()) + 1, len(model.get_input_embeddings().weight)
    if pieces > rows:
        raise UserError(
            f"the tokenizer of {name} gives {pieces:,} pieces, and the model has embeddings for {rows:,}; take both "
            "from the same model"
        )
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

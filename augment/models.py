"""Masked LMs as they are loaded, and how much text they take."""

from typing import Any

from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

from glue_tasks import UserError
from tinydistill.encoders.config import load_config
from tinydistill.encoders.limits import position_limit
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.encoders.weights import load_model


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

"""Models with their weights, in float32; weights that do not fit or are not finite are refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from glue_tasks.errors import UserError, warn_once
from glue_tasks.seals import check_file
from tinydistill.encoders.config import load_config
from tinydistill.encoders.padding_row import zero_padding_row
from tinydistill.encoders.pretrained import find_file, load_pretrained
from tinydistill.encoders.weight_files import find_weights, no_weights, read_if_odd


def load_model(auto_class: Any, name: str, **options: object) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model in float32 and transformers' account of the weights that fitted (`missing_keys`, `mismatched_keys`), with
    `depends_on_padding`.

    options: entries of the configuration in place of its own. Raises UserError if the file has weights which the model
    built by the configuration does not use, other than heads, or if a weight is not finite. Outputs of the model do not
    depend on padding where the word embedding of padding alone is to blame (`padding_row`). Of weights with names of
    old (`gamma`, `beta`) or of a wrapper (`module.`) the model knows those of today alone, and is saved with them.
    """
    # Sizes that do not fit are left to the caller: the error of transformers only points to a table in its log.
    how: dict[str, object] = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    how["config"] = load_config(name, **options)
    check_file(Path(name) / "model.safetensors", Path(name) / "run.json")
    paths = find_weights(name)
    if not paths and Path(name).is_dir():
        raise no_weights(Path(name))
    if weights := read_if_odd(name, paths):
        how["state_dict"] = weights
    model, info = load_pretrained(auto_class, name, **how)
    model.config._name_or_path = model.name_or_path = name
    unused = sorted(key for key in info["unexpected_keys"] if not _may_stay_unused(key, model))
    if unused:
        have = f"and {len(unused) - 1:,} more have" if unused[1:] else "has"
        raise UserError(
            f"the weights of {name} do not fit its configuration: {unused[0]} {have} no place in the "
            f"{type(model).__name__} of {model.config.num_hidden_layers} layers that config.json describes; take both "
            "from the same model"
        )
    if find_file(name, "adapter_config.json"):  # which transformers leaves out where peft is not installed
        raise UserError(
            f"{name} holds an adapter beside its weights; merge it into them first (merge_and_unload of peft)"
        )
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    check_finite(name, {key: tensor for key, tensor in model.state_dict().items() if key not in fresh})
    for parameter in model.parameters():
        # Of some architectures (NomicBERT, GTE) parts of one weight in the file, which could not be saved.
        if parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()
    is_zeroed, info["depends_on_padding"] = zero_padding_row(model)
    if is_zeroed:
        warn_once(
            f"the word embedding of padding of {name} was set to zero: each token reads its neighbours' embeddings, "
            "and with it outputs would change with the padding of a batch"
        )
    return model, info


def check_finite(name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises UserError if one of the weights of the model `name` is NaN or infinite."""
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"the weights of {name} are damaged: {key} holds a value that is not finite; take another")


def _may_stay_unused(key: str, model: PreTrainedModel) -> bool:
    """Whether a weight without a place in the model changes nothing: a head, or a buffer that a model makes itself."""
    if _BUFFER.search(key):
        return True
    part = key.removeprefix(f"{model.base_model_prefix}.").partition(".")[0]
    return bool(_HEAD.match(key)) and part not in dict(model.base_model.named_children())


_BUFFER = re.compile(r"(?:^|\.)(?:position_ids|token_type_ids|inv_freq)$")
# Heads of other tasks, poolers, and TinyBERT's projections.
_HEAD = re.compile(
    r"(?:\w+\.)?(?:cls|lm_head|lm_predictions|mask_predictions|entity_predictions|predictions|sop_classifier|"
    r"seq_relationship|discriminator_predictions|generator_\w+|vocab_\w+|pred_layer|final_logits_bias|pre_classifier|"
    r"classifier|classification_head|score|sequence_summary|logits_proj|qa_outputs|qa_classifier|head|decoder|"
    r"fit_denses?|pooler)(?:\.|$)"
)

"""Configurations, tokenizers and weights, loaded from a folder or the hub; what cannot be is one sentence."""

import json
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers.normalizers import BertNormalizer
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TokenizersBackend,
)
from transformers.utils import cached_file, logging

from glue_tasks.errors import UserError, is_outside
from glue_tasks.seals import check_weights
from glue_tasks.tally import warn_once

# Loading a pretrained body under a new head is what we do; transformers' table about it says nothing new.
logging.set_verbosity_error()
logging.disable_progress_bar()


def load_config(name: str, **options: object) -> PreTrainedConfig:
    """The configuration of a folder or hub id, with entries of `options` in place of its own.

    Raises UserError if there is none.
    """
    try:
        entries, _ = PreTrainedConfig.get_config_dict(name)
    except (OSError, ValueError):  # told below
        entries = {}
    if not isinstance(entries, dict):
        raise UserError(f"the config.json of {name} is no configuration; copy or make it again")
    if method := entries.get("quantization_config"):
        raise UserError(
            f"{name} is quantised ({dict(method).get('quant_method', 'quantization_config')}), and can neither be "
            "trained nor copied from; choose the model that it was made from"
        )
    of_bert = all(made_for.startswith(("Bert", "TinyBert")) for made_for in entries.get("architectures") or ())
    if "model_type" not in entries and entries.keys() >= _OF_BERT and of_bert:
        warn_once(f"the configuration of {name} has no model_type; its fields are BERT's, and it is taken for one")
        return BertConfig.from_dict({**entries, "_name_or_path": name}, **_AS_WE_RUN, **options)
    config = load_pretrained(AutoConfig, name, **_AS_WE_RUN, **options)
    config._attn_implementation = None  # whatever ran it before; transformers chooses what there is here
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id, in its fast form and able to pad.

    Raises UserError if it is missing, has no fast form, or neither a piece for padding nor another to take for it.
    """
    config = load_config(name)
    tokenizer = load_pretrained(AutoTokenizer, name, config=config)
    # From a folder without its files transformers makes one to which every word is unknown.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{name} holds no tokenizer beside its model; copy there that of the model it was made from "
            "(tokenizer.json or vocab.txt)"
        )
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {name} has no fast form; save it with one (tokenizer.json)")
    tokenizer = _with_case(name, tokenizer, config)
    if tokenizer.pad_token_id is None:
        own = None if config.pad_token_id is None else tokenizer.convert_ids_to_tokens(config.pad_token_id)
        pad = own or tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
        if pad is None:
            raise UserError(f"the tokenizer of {name} has no pad_token; name one in its tokenizer_config.json")
        tokenizer.pad_token = pad  # any will do: padding is masked
    if tokenizer.padding_side == "left" and getattr(config, "summary_type", None) != "last":  # as XLNet has it
        warn_once(
            f"the tokenizer of {name} pads on the left, which moves the positions of an encoder; it pads on the right"
        )
        tokenizer.padding_side = "right"
    # A tokenizer of no class of its own gives no segment ids, though tokenizer.json makes them and the model has two.
    generic = type(tokenizer) is TokenizersBackend and (getattr(config, "type_vocab_size", None) or 0) > 1
    stated = "model_input_names" in _json_of(name, "tokenizer_config.json")
    if generic and not stated and any(tokenizer.backend_tokenizer.encode("a", "b").type_ids):
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # which is what is saved
    return tokenizer


def _with_case(name: str, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer, as cased or accented as its files say, and where they say nothing as its vocabulary.

    transformers makes BERT's anew, of its vocabulary and tokenizer_config.json; where that says nothing, capitals and
    accents are taken away, whatever tokenizer.json says. A vocabulary that holds many pieces which such a text can
    never give is of a model that keeps them.
    """
    stated = _json_of(name, "tokenizer_config.json").keys()
    in_file = _json_of(name, "tokenizer.json").get("normalizer") or {}
    normalizer = tokenizer.backend_tokenizer.normalizer
    if isinstance(normalizer, BertNormalizer):
        lost = {
            option: in_file[entry]
            for option, entry in _OF_NORMALIZER.items()
            if option not in stated and in_file.get(entry) != getattr(normalizer, entry) and entry in in_file
        }
        if lost:
            tokenizer = load_pretrained(AutoTokenizer, name, config=config, **lost)
    share = unreachable_share(tokenizer)
    if share < _FEW:
        return tokenizer
    if not in_file and "do_lower_case" not in stated:
        for keeps in ({"strip_accents": False}, {"do_lower_case": False, "strip_accents": False}):
            other = load_pretrained(AutoTokenizer, name, config=config, **keeps)
            if unreachable_share(other) < _FEW:
                warn_once(
                    f"{name} has capitals or accents in its vocab.txt, and no tokenizer_config.json says to take them "
                    "away: they are kept"
                )
                return other
    warn_once(
        f"the tokenizer of {name} takes capitals or accents away, and {share:.0%} of its vocabulary has them; if the "
        'model is a cased one, set "do_lower_case": false in its tokenizer_config.json'
    )
    return tokenizer


def unreachable_share(tokenizer: PreTrainedTokenizerBase) -> float:
    """The share of the vocabulary's words that the tokenizer's normaliser changes, so that no text gives them."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None or type(tokenizer.backend_tokenizer.model).__name__ != "WordPiece":
        return 0.0
    special = set(tokenizer.all_special_tokens)
    words = [piece.removeprefix("##") for piece in tokenizer.get_vocab() if piece not in special]
    words = [word for word in words if not (word.startswith(("[", "<")) and word.endswith(("]", ">")))]
    # Only letters: symbols are composed in other ways by some normalisers.
    words = [word for word in words if word.isalpha() and not "\u2e80" <= word[0] <= "\u9fff"]
    return sum(normalizer.normalize_str(word) != word for word in words) / max(len(words), 1)


def _json_of(name: str, file: str) -> dict[str, Any]:
    """A JSON file of a model folder or hub id; {} if none is there that can be read, which is told elsewhere."""
    path = find_file(name, file)
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def find_file(name: str, file: str) -> Path | None:
    """A file of a model folder or hub id, from the cache or the hub; None if it has none."""
    path = cached_file(
        name,
        file,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(path) if path else None


def load_model(auto_class: Any, name: str, **options: object) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model in float32 and transformers' account of the weights that fitted (`missing_keys`, `mismatched_keys`).

    options: entries of the configuration in place of its own. Raises UserError if the file has weights which the model
    built by the configuration does not use, other than heads, or if a weight is not finite.
    """
    # Sizes that do not fit are left to the caller: the error of transformers only points to a table in its log.
    how: dict[str, object] = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    how["config"] = load_config(name, **options)
    check_weights(Path(name))
    model, info = load_pretrained(auto_class, name, **how)
    if wrapped := {match[0] for key in info["unexpected_keys"] if (match := _WRAPPER.match(key))}:
        warn_once(
            f"the weights of {name} were saved from inside a wrapper; {min(wrapped)} before their names is left out"
        )
        model, info = load_pretrained(auto_class, name, **how, key_mapping={_WRAPPER.pattern: ""})
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


# How a model was run when it was saved, which is no part of it.
_AS_WE_RUN = {
    "return_dict": True,
    "chunk_size_feed_forward": 0,
    "output_hidden_states": False,
    "output_attentions": False,
}
# Fields that BERT's configuration had before it named its type, as the published TinyBERT archives have it.
_OF_BERT = {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "type_vocab_size"}
_OF_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_FEW = 0.005  # of a vocabulary: bert-base-chinese has two pieces with capitals
# Names that weights get before theirs, of DataParallel and of torch.compile.
_WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.)+")
_BUFFER = re.compile(r"(?:^|\.)(?:position_ids|token_type_ids|inv_freq)$")
# Heads of other tasks, poolers, and TinyBERT's projections.
_HEAD = re.compile(
    r"(?:\w+\.)?(?:cls|lm_head|lm_predictions|mask_predictions|entity_predictions|predictions|sop_classifier|"
    r"seq_relationship|discriminator_predictions|generator_\w+|vocab_\w+|pred_layer|final_logits_bias|pre_classifier|"
    r"classifier|classification_head|score|sequence_summary|logits_proj|qa_outputs|qa_classifier|head|decoder|"
    r"fit_denses?|pooler)(?:\.|$)"
)


# What is raised for a file of weights that is cut off or no such file, besides torch's RuntimeError.
_DAMAGED = (SafetensorError, pickle.UnpicklingError, struct.error, EOFError)
_WHAT = {AutoConfig: "configuration", AutoTokenizer: "tokenizer"}  # else a model


def load_pretrained(auto_class: Any, name: str, **options: object) -> Any:
    """What `auto_class.from_pretrained` gives; code that lies beside the weights is never run. UserError if nothing."""
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local and not folder.is_dir():
        raise UserError(f"there is no model folder {name}; give a folder that holds config.json, or a hub id")
    if looks_local and not (folder / "config.json").is_file():
        raise UserError(f"the folder {name} holds no config.json; give one that `save_pretrained` wrote")
    try:
        return auto_class.from_pretrained(name, trust_remote_code=False, **options)
    except Exception as error:  # odd entries of a configuration end in any
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        damaged = isinstance(error, _DAMAGED) or "PytorchStreamReader" in reason
        if not damaged and is_outside(error):
            raise
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{name} needs code of its own (auto_map in its configuration), which is never run; choose a model "
                "whose type transformers knows"
            ) from None
        if damaged:
            if isinstance(error, pickle.UnpicklingError):  # whose reason tells how to run what it holds
                reason = "a pickle of something else than tensors, which is not read"
            raise UserError(
                f"the weights of {name} are damaged or cut off; copy or make them again ({reason})"
            ) from None
        if looks_local:
            what = _WHAT.get(auto_class, "model")
            raise UserError(f"cannot load the {what} of {name}; check the folder's files ({reason})") from None
        raise UserError(
            f"there is no folder {name} here, and the model of that name could not be had from the hub either; check "
            f"the path, or download it to a folder on a machine with a network ({reason})"
        ) from None

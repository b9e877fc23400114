"""The configuration of TensorFlow's code as transformers'.

A key that the JSON does not have means the default of the code that read it, and transformers' defaults are others:
of MobileBERT's f2 models it would make a `bottleneck.attention` in every block that no checkpoint holds. So all keys
are written out. Sources: `BertConfig.__init__` and `from_dict` of the two codes' modeling.py (see names.py).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import BertConfig, MobileBertConfig, PreTrainedConfig

from glue_tasks.errors import UserError

_OF_BERT: Mapping[str, Any] = {
    "vocab_size": None,  # has no default
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
}
_OF_MOBILEBERT_ALONE: Mapping[str, Any] = {
    "embedding_size": None,  # as wide as the hidden states
    "trigram_input": False,
    "use_bottleneck": False,
    "intra_bottleneck_size": None,  # likewise
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
}
# TensorFlow's names of activations, as transformers calls the same functions. BERT's gelu was the exact one when the
# first models were trained and became its tanh form later; the hub's copies of those models have the exact one.
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "relu6": "relu6", "tanh": "tanh", "linear": "linear"}
_MOBILEBERT_ACTIVATIONS = {**_ACTIVATIONS, "gelu": "gelu_new"}
_OTHER_MODELS = {"num_hidden_groups": "ALBERT", "inner_group_num": "ALBERT", "generator_size": "ELECTRA"}


def read_config(path: Path) -> PreTrainedConfig:
    """A BertConfig or MobileBertConfig that computes what TensorFlow's code computes with this JSON.

    Raises UserError if it cannot be read, or is of a model that transformers does not have.
    """
    entries = _read(path)
    for key, model in _OTHER_MODELS.items():
        if key in entries:
            raise UserError(f"{path} is the configuration of {model} ({key}); only BERT and MobileBERT are converted")
    if (kind := entries.get("model_type", "bert")) not in ("bert", "mobilebert"):
        raise UserError(f"{path} is the configuration of {kind!r}; only BERT and MobileBERT are converted")
    is_mobile = any(key in entries for key in _OF_MOBILEBERT_ALONE) or kind == "mobilebert"
    known = {**_OF_BERT, **_OF_MOBILEBERT_ALONE} if is_mobile else _OF_BERT
    fields = {key: entries.get(key, default) for key, default in known.items()}
    for key in ("embedding_size", "intra_bottleneck_size"):
        if is_mobile and fields[key] is None:
            fields[key] = fields["hidden_size"]
    _check(fields, path)
    activations = _MOBILEBERT_ACTIVATIONS if is_mobile else _ACTIVATIONS
    if fields["hidden_act"] not in activations:
        raise UserError(f"hidden_act in {path} is {fields['hidden_act']!r}; it can be {', '.join(activations)}")
    fields |= {"hidden_act": activations[fields["hidden_act"]], "layer_norm_eps": 1e-12}
    if not is_mobile:
        return BertConfig(**fields)
    _check_expressible(fields, path)
    # The code makes no bottleneck for queries and keys where they share that of the block; transformers makes both.
    fields["key_query_shared_bottleneck"] &= fields["use_bottleneck"] and not fields["use_bottleneck_attention"]
    # Its run_classifier.py drops a tenth of what the classifier reads, whatever hidden_dropout_prob is.
    return MobileBertConfig(**fields, classifier_dropout=0.1)


def lower_case(path: Path) -> bool | None:
    """Whether the JSON says that texts are read in lower case; None if it says nothing, as most."""
    stated = _read(path).get("do_lower_case")
    return stated if isinstance(stated, bool) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; name the model's bert_config.json or its like") from None
    except (ValueError, IsADirectoryError, RecursionError) as error:
        raise UserError(f"{path} is not the JSON of a model's configuration: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not the JSON of a model's configuration: it holds no object")
    return found


def _check(fields: Mapping[str, Any], path: Path) -> None:
    """Raises UserError if a value is not of the kind that the code takes."""
    if fields["vocab_size"] is None:
        raise UserError(f"{path} has no vocab_size; give the JSON that belongs to the checkpoint")
    for key, value in fields.items():
        if key in ("hidden_act", "normalization_type"):
            fits, what = isinstance(value, str), "a name"
        elif isinstance(default := {**_OF_BERT, **_OF_MOBILEBERT_ALONE}[key], bool):
            fits, what = isinstance(value, bool), "true or false"
        elif isinstance(default, float):
            fits, what = type(value) in (int, float) and 0 <= value < 1, "a number from 0 to 1"
        else:
            fits, what = type(value) is int and 0 < value < 1 << 31, "a whole number above 0"
        if not fits:
            raise UserError(f"{key} in {path} is {value!r}; it is {what}")
    width = "intra_bottleneck_size" if fields.get("use_bottleneck") else "hidden_size"
    if fields[width] % fields["num_attention_heads"]:
        raise UserError(
            f"{width} in {path} is {fields[width]}, which {fields['num_attention_heads']} heads "
            "(num_attention_heads) cannot share evenly; give the JSON that belongs to the checkpoint"
        )


def _check_expressible(fields: Mapping[str, Any], path: Path) -> None:
    """Raises UserError if transformers' MobileBERT cannot compute what the code computes."""
    if fields["normalization_type"] not in ("no_norm", "layer_norm"):
        raise UserError(
            f"normalization_type in {path} is {fields['normalization_type']!r}; it can be no_norm or layer_norm"
        )
    shares = fields["use_bottleneck_attention"] or fields["key_query_shared_bottleneck"]
    if fields["use_bottleneck"] and not shares and fields["intra_bottleneck_size"] != fields["hidden_size"]:
        raise UserError(
            f"{path} is an IB-BERT, MobileBERT's teacher, whose queries and keys read states of another width than the "
            "bottleneck's; transformers has no such model, and only its student can be converted"
        )
    if not fields["trigram_input"] and fields["embedding_size"] == fields["hidden_size"]:
        raise UserError(
            f"{path} has no trigram_input and embeddings as wide as the states, so that no layer lies between them, "
            "and transformers' MobileBERT has one; it cannot be converted"
        )

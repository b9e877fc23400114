"""Configurations of models, of a folder or the hub."""

from typing import Any

from transformers import AutoConfig, BertConfig, PreTrainedConfig

from glue_tasks.errors import UserError, warn_once
from tinydistill.encoders.pretrained import load_pretrained, quiet


def load_config(name: str, **options: object) -> PreTrainedConfig:
    """The configuration of a folder or hub id, with entries of `options` in place of its own.

    Raises UserError if there is none.
    """
    entries = _entries(name)
    if not isinstance(entries, dict):
        raise UserError(f"the config.json of {name} is no configuration; copy or make it again")
    if method := entries.get("quantization_config"):
        raise UserError(
            f"{name} is quantised ({dict(method).get('quant_method', 'quantization_config')}), and can neither be "
            "trained nor copied from; choose the model that it was made from"
        )
    of_bert = all(made_for.startswith(("Bert", "TinyBert")) for made_for in entries.get("architectures") or ())
    # ALBERT, ELECTRA and MobileBERT have all of BERT's fields, and embeddings of a size of their own.
    if "model_type" not in entries and entries.keys() >= _OF_BERT and of_bert and "embedding_size" not in entries:
        warn_once(f"the configuration of {name} has no model_type; its fields are BERT's, and it is taken for one")
        known = {*BertConfig().to_dict(), "num_labels"}  # and what else its authors noted is carried no further
        entries = {field: value for field, value in entries.items() if field in known}
        try:
            with quiet():
                return BertConfig.from_dict({**entries, "_name_or_path": name}, **_AS_WE_RUN, **options)
        except Exception as error:  # odd values of a configuration end in any
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"cannot load the configuration of {name}; check its config.json ({reason})") from None
    config = load_pretrained(AutoConfig, name, **_AS_WE_RUN, **options)
    config._attn_implementation = None  # whatever ran it before; transformers chooses what there is here
    return config


def states_outputs(name: str) -> bool:
    """Whether the configuration of a folder or hub id says how many outputs a head has, or what they are called."""
    return not _entries(name).keys().isdisjoint(("num_labels", "id2label", "label2id"))


def _entries(name: str) -> dict[str, Any]:
    """What config.json holds; {} if there is none that can be read, which is told where it is loaded."""
    try:
        with quiet():
            return PreTrainedConfig.get_config_dict(name)[0]
    except (OSError, ValueError):
        return {}


# How a model was run when it was saved, which is no part of it.
_AS_WE_RUN = {
    "return_dict": True,
    "chunk_size_feed_forward": 0,
    "output_hidden_states": False,
    "output_attentions": False,
}
# Fields that BERT's configuration had before it named its type, as the published TinyBERT archives have it.
_OF_BERT = {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "type_vocab_size"}

"""Configurations of models, of a folder or the hub."""

from transformers import AutoConfig, BertConfig, PreTrainedConfig

from glue_tasks.errors import UserError, warn_once
from tinydistill.encoders.pretrained import load_pretrained, quiet


def load_config(name: str, **options: object) -> PreTrainedConfig:
    """The configuration of a folder or hub id, with entries of `options` in place of its own.

    Raises UserError if there is none.
    """
    try:
        with quiet():
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


# How a model was run when it was saved, which is no part of it.
_AS_WE_RUN = {
    "return_dict": True,
    "chunk_size_feed_forward": 0,
    "output_hidden_states": False,
    "output_attentions": False,
}
# Fields that BERT's configuration had before it named its type, as the published TinyBERT archives have it.
_OF_BERT = {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "type_vocab_size"}

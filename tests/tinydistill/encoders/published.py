"""Folders as the published TinyBERT archives have them, and as their code writes them: all that is odd about them."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import BertForPreTraining

from tests.tinydistill.conftest import PIECES, tiny_bert_config

FIELDS = [
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
]
ODD_FIELDS: dict[str, Any] = {"cell": {}, "structure": [], "emb_size": 16, "pre_trained": "", "training": ""}


def publish(
    folder: Path,
    model_class: Any = BertForPreTraining,
    prefix: str = "module.",
    gamma: bool = True,
    projections: str = "fit_denses",
    decoder: bool = True,
    zipped: bool = False,
    safe: bool = False,
    **config: Any,
) -> dict[str, torch.Tensor]:
    """Two blocks of width 16, and projections to 24; returns the weights by the names of today."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    made = tiny_bert_config(**{"layers": 2, "hidden_size": 16, **config})
    model = model_class(made)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights.pop("cls.predictions.decoder.bias", None)  # which is `cls.predictions.bias`, and is of later years
    if not decoder:
        weights.pop("cls.predictions.decoder.weight")
    for place in {"fit_denses": ["s.0", "s.1", "s.2"], "fit_dense": [""], "": []}[projections]:
        weights |= {f"fit_dense{place}.weight": torch.randn(24, 16), f"fit_dense{place}.bias": torch.randn(24)}
    today = dict(weights)
    weights["bert.embeddings.position_ids"] = torch.arange(32)[None]  # (1, 32)
    if gamma:
        for one, other in (("weight", "gamma"), ("bias", "beta")):
            weights = {re.sub(rf"LayerNorm\.{one}$", f"LayerNorm.{other}", key): each for key, each in weights.items()}
    weights = {prefix + key: tensor for key, tensor in weights.items()}
    if safe:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    else:
        torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    fields = {name: value for name, value in made.to_dict().items() if name in FIELDS}
    (folder / "config.json").write_text(json.dumps(fields | ODD_FIELDS))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return today


def is_plain(folder: Path) -> bool:
    """Whether a folder holds nothing odd: safetensors with names of today, and a typed configuration of BERT's."""
    config = json.loads((folder / "config.json").read_text())
    with safe_open(folder / "model.safetensors", "pt") as file:
        keys = set(file.keys())
    named = all(re.match(r"(bert|cls|classifier)\.", key) for key in keys)
    modern = not any(re.search("gamma|beta|fit_dense|position_ids", key) for key in keys)
    typed = config["model_type"] == "bert" and config.keys().isdisjoint(ODD_FIELDS)
    return named and modern and typed and not list(folder.glob("*.bin")) and (folder / "tokenizer.json").is_file()

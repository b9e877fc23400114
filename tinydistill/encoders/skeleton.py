"""A model without its weights: its modules with the sizes of its configuration, and the dtypes of its file of weights.

Nothing of the weights is read but the headers of the safetensors files (https://github.com/huggingface/safetensors:
name, dtype and shape of each tensor), so that a large model takes no memory, and nothing is downloaded but config.json.
"""

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from glue_tasks.errors import UserError, is_outside
from tinydistill.encoders.config import load_config
from tinydistill.encoders.pretrained import quiet


@dataclass(frozen=True)
class Skeleton:
    """A model on the meta device and the dtype on disk of each of its parameters, by name."""

    model: PreTrainedModel
    dtypes: dict[str, torch.dtype]
    source: str  # what tells the dtypes, in words


def load_skeleton(name: str) -> Skeleton:
    """The model of a folder or hub id, of the class that its configuration names (the body alone if it names none).

    Raises UserError if there is none, or if a weight has another size in the file than by the configuration.
    """
    config = load_config(name)
    model = build_on_meta(config, name)
    stored = _headers(name)
    if not stored:
        told = config.dtype or torch.float32
        source = "as its configuration says" if config.dtype else "as models are unless they say otherwise"
        return Skeleton(model, dict.fromkeys(_names(model), told), source)
    most = Counter(dtype for dtype, _ in stored.values()).most_common(1)[0][0]  # for what has another name there
    dtypes = {}
    for key, parameter in model.named_parameters(remove_duplicate=False):
        dtype, shape = stored.get(key) or stored.get(_other_name(key, model)) or (most, tuple(parameter.shape))
        if shape != tuple(parameter.shape):
            raise UserError(
                f"the weights of {name} do not fit its configuration: {key} is {_size(shape)} in the weights and "
                f"{_size(parameter.shape)} by config.json; take both from the same model"
            )
        dtypes[key] = dtype
    return Skeleton(model, dtypes, "on disk")


def build_on_meta(config: PreTrainedConfig, name: str, model_class: Any = None) -> PreTrainedModel:
    """A model of sizes without values. `name` is for the message of the UserError if the configuration has odd ones."""
    model_class = model_class or next(filter(None, map(_class, config.architectures or ())), None)
    try:
        with quiet(), torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # a MobileBERT's masked-LM head
            if model_class:
                return model_class(config)
            return AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # odd entries of a configuration end in any
        if is_outside(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"cannot build the model of {name}; check its config.json ({reason})") from None


def _class(name: str) -> Any:
    """The class of that name in transformers, or None: code of a model's own is never run."""
    found = getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, PreTrainedModel) else None


def _headers(name: str) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Dtype and shape of each tensor in the safetensors files of a model; {} if it has none here."""
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for path in _weight_files(name):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118
                    part = file.get_slice(key)
                    if dtype := _DTYPES.get(part.get_dtype()):
                        found[key] = dtype, tuple(part.get_shape())
        except SafetensorError as error:
            raise UserError(
                f"the weights of {name} are damaged or cut off; copy or make them again ({error})"
            ) from None
    return found


def _weight_files(name: str) -> list[Path]:
    """The safetensors files of a folder, or of a hub id in the hub's cache."""
    if whole := _local(name, "model.safetensors"):
        return [whole]
    index = _local(name, "model.safetensors.index.json")
    if not index:
        return []
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index} is damaged; copy or make it again") from None
    paths = {shard: index.with_name(str(shard)) for shard in sorted(shards, key=str)}
    if missing := [shard for shard, path in paths.items() if not path.is_file()]:
        raise UserError(f"the weights of {name} are not complete: there is no {missing[0]}; copy them again")
    return list(paths.values())


def _local(name: str, file: str) -> Path | None:
    path = cached_file(
        name,
        file,
        local_files_only=True,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(path) if path else None


def _other_name(key: str, model: PreTrainedModel) -> str:
    """A weight's name in the file of a body without a head, or of one that has a head beside it."""
    prefix = f"{model.base_model_prefix}."
    return key.removeprefix(prefix) if key.startswith(prefix) else prefix + key


def _names(model: PreTrainedModel) -> list[str]:
    return [key for key, _ in model.named_parameters(remove_duplicate=False)]


def _size(shape: Any) -> str:
    return " x ".join(map(str, shape))


# As safetensors names them.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

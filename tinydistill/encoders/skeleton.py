"""A model without its weights: its modules with the sizes of its configuration, and the dtypes of its file of weights.

Nothing of the weights is read but the headers of the safetensors files (https://github.com/huggingface/safetensors:
name, dtype and shape of each tensor) or the index of a pickled one, so that a large model takes no memory, and nothing
is downloaded but config.json.
"""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from glue_tasks.errors import UserError, is_outside
from tinydistill.encoders.config import load_config
from tinydistill.encoders.pretrained import quiet
from tinydistill.encoders.weight_files import find_weights, name_of_today, read_pickled, told_if_damaged


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


def counterpart(model_class: type, config: PreTrainedConfig) -> Any:
    """The class with the same head for models of a configuration: BertForMaskedLM's is MobileBertForMaskedLM."""
    if model_class.config_class is type(config):  # type: ignore[attr-defined]
        return model_class
    head = re.search(r"(For[A-Z]\w*|Model)$", model_class.__name__)
    body = transformers.MODEL_MAPPING[type(config)].__name__
    return _class(body.removesuffix("Model") + (head[0] if head else "Model"))


def _class(name: str) -> Any:
    """The class of that name in transformers, or None: code of a model's own is never run."""
    found = getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, PreTrainedModel) else None


def _headers(name: str) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Dtype and shape of each tensor in the files of weights of a model, by name; {} if it has none here."""
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for path in find_weights(name, download=False):
        if path.suffix == ".bin":
            pickled = read_pickled(name, path, device="meta")
            found |= {name_of_today(key): (each.dtype, tuple(each.shape)) for key, each in pickled.items()}
            continue
        with told_if_damaged(name), safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                part = file.get_slice(key)
                if dtype := _DTYPES.get(part.get_dtype()):
                    found[name_of_today(key)] = dtype, tuple(part.get_shape())
    return found


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

"""Teachers and students: loaded from a folder or the hub, or built from the teacher."""

import copy
import hashlib
import json
import pickle
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils import logging

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill.label_order import align, label_options, permute_outputs, start_order
from tinydistill.layer_map import LayerMap

# Loading a pretrained body under a new head is what we do; transformers' table about it says nothing new.
logging.set_verbosity_error()
logging.disable_progress_bar()


@dataclass(frozen=True)
class Shape:
    """The size of a student with fresh weights."""

    layers: int
    hidden: int
    heads: int
    ffn: int


# TinyBERT, section 4.2.
SHAPES = {
    "tinybert-4l-312d": Shape(layers=4, hidden=312, heads=12, ffn=1200),
    "tinybert-6l-768d": Shape(layers=6, hidden=768, heads=12, ffn=3072),
}
STUDENT_FORMS = (
    "a folder, a hub id, init:layers=3 (copies of teacher blocks), "
    f"{', '.join(SHAPES)} or shape:layers=3,hidden=312,heads=12,ffn=1200 (fresh weights)"
)


@dataclass(frozen=True)
class StudentSpec:
    """What a student is made of: exactly one of the three is set."""

    path: str = ""  # a folder or a hub id
    shape: Shape | None = None
    teacher_layers: int = 0  # how many teacher blocks to copy

    @staticmethod
    def parse(text: str) -> "StudentSpec":
        """Raises UserError if `init:` or `shape:` is not followed by what it needs."""
        if text.lower() in SHAPES:
            return StudentSpec(shape=SHAPES[text.lower()])
        if match := re.fullmatch(r"init:layers=([1-9]\d*)", text):
            return StudentSpec(teacher_layers=int(match[1]))
        if text.startswith("shape:"):
            pairs = dict(re.findall(r"(?:^|,)(\w+)=([1-9]\d*)(?=,|$)", text.removeprefix("shape:")))
            if pairs.keys() == Shape.__annotations__.keys() and text.count("=") == len(pairs):
                return StudentSpec(shape=Shape(**{name: int(value) for name, value in pairs.items()}))
        if text.startswith(("init:", "shape:")):
            raise UserError(f"--student {text!r} cannot be read; a student is {STUDENT_FORMS}")
        return StudentSpec(path=text)

    def num_layers(self) -> int:
        """Blocks of the student."""
        if self.path:
            return load_config(self.path).num_hidden_layers
        return self.shape.layers if self.shape else self.teacher_layers


def load_config(name: str) -> PreTrainedConfig:
    """The configuration of a folder or hub id; UserError if there is none."""
    return _load(AutoConfig, name)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id; UserError if it is missing or has no fast form."""
    tokenizer = _load(AutoTokenizer, name)
    # From a folder without its files transformers makes one to which every word is unknown.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{name} holds no tokenizer beside its model; copy there that of the model it was made from "
            "(tokenizer.json or vocab.txt)"
        )
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {name} has no fast form; save it with one (tokenizer.json)")
    return tokenizer


def load_classifier(name: str, task: Task, fresh_head: bool) -> PreTrainedModel:
    """A sequence classifier in float32.

    With `fresh_head` its head fits the task whatever was saved: the start of a fine-tuning; a saved head of the task's
    own labels is kept, in the task's order. Without, the model must have been saved with a head, which stays as it is;
    raises UserError if it was not.
    """
    # Sizes that do not fit are told below: the error of transformers only points to a table in its log.
    options: dict[str, object] = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    if fresh_head:
        options |= label_options(task)
    model, info = _load(AutoModelForSequenceClassification, name, **options)
    body = f"{model.base_model_prefix}."
    for key, saved, wanted in sorted(info["mismatched_keys"]):
        # A head of another size is meant to be replaced; a body that does not fit would silently be random.
        if not fresh_head or key.startswith(body):
            raise UserError(
                f"the weights of {name} do not fit its configuration: {key} is {_size(saved)} in the weights and "
                f"{_size(wanted)} by config.json; take both from the same model"
            )
    lost = sorted(key for key in info["missing_keys"] if not fresh_head or key.startswith(body))
    lost = [key for key in lost if "pooler" not in key or not fresh_head]  # masked LMs are saved without a pooler
    if lost and not fresh_head:
        raise UserError(
            f"{name} is not a fine-tuned sequence classifier (it has no {lost[0]}); fine-tune one with "
            f"`run_tinybert.py --phase teacher --task {task.name} --pretrained {name} --output-dir ...`"
        )
    if lost:
        raise UserError(
            f"the weights of {name} do not fit its configuration: {lost[0]} and {len(lost) - 1} more are missing; "
            "take both from the same model"
        )
    if fresh_head and (order := start_order(task, load_config(name), name)):
        permute_outputs(model, order)
    return model


def load_fine_tuned(name: str, task: Task) -> tuple[PreTrainedModel, list[str]]:
    """A classifier fine-tuned on the task, in float32, its outputs in the task's order; notes say what was reordered.

    Raises UserError if it was saved without a head or has other labels.
    """
    model = load_classifier(name, task, fresh_head=False)
    return model, align(task, model, name)


def build_student(
    spec: StudentSpec, teacher: PreTrainedModel, task: Task, layer_map: LayerMap, seed: int
) -> PreTrainedModel:
    """The student before training, in float32; equal seeds give equal weights. Its head fits the task."""
    set_seed(seed)
    if spec.path:
        return load_classifier(spec.path, task, fresh_head=True)
    student = AutoModelForSequenceClassification.from_config(student_config(spec, teacher.config, task)).float()
    if spec.teacher_layers:
        _copy_blocks(teacher, student, layer_map)
    return student


def student_config(spec: StudentSpec, teacher: PreTrainedConfig, task: Task) -> PreTrainedConfig:
    """What the student's configuration is or will be. Raises UserError if its sizes cannot be."""
    if spec.path:
        return load_config(spec.path)
    config = copy.deepcopy(teacher)
    config.update(label_options(task))
    config.num_hidden_layers = spec.num_layers()
    if spec.shape:
        config.hidden_size, config.num_attention_heads = spec.shape.hidden, spec.shape.heads
        # DistilBERT alone calls the width of its feed-forward network otherwise.
        setattr(config, "hidden_dim" if config.model_type == "distilbert" else "intermediate_size", spec.shape.ffn)
        if spec.shape.hidden % spec.shape.heads:
            raise UserError(f"a hidden size of {spec.shape.hidden} does not divide into {spec.shape.heads} heads")
        if hasattr(config, "embedding_size") and config.embedding_size == teacher.hidden_size:
            config.embedding_size = spec.shape.hidden
    return config


def _copy_blocks(teacher: PreTrainedModel, student: PreTrainedModel, layer_map: LayerMap) -> None:
    """Embeddings, pooler and head from the teacher; block i from the teacher block that will teach it."""
    depth = teacher.config.num_hidden_layers
    stacks = [n for n, m in teacher.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    weights = teacher.state_dict()
    own = {}
    for key in student.state_dict():
        source = key
        for stack in stacks:
            if match := re.match(rf"{re.escape(stack)}\.(\d+)\.", key):
                source = f"{stack}.{layer_map.blocks[int(match[1])]}.{key[match.end() :]}"
        own[key] = weights[source]
    student.load_state_dict(own)


def load_projections(name: str) -> dict[str, torch.Tensor]:
    """The trained projections that lie beside a student, as `weight` or `bias` by `<place>.<name>`; {} if none.

    Known are our own `projections.safetensors` and, inside the weights, the `fit_denses.<m>` and the single shared
    `fit_dense` of the published TinyBERT students.
    """
    folder = Path(name)
    if (own := folder / "projections.safetensors").is_file():
        try:
            return load_file(own)
        except SafetensorError as error:
            raise UserError(f"{own} is damaged ({error}); remove it, and new projections are made") from None
    if (path := folder / "model.safetensors").is_file():
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys() if key.startswith("fit_dense")}  # noqa: SIM118
    elif (path := folder / "pytorch_model.bin").is_file():
        weights = torch.load(path, map_location="cpu", weights_only=True)
    else:
        return {}
    found = {}
    for key, tensor in weights.items():
        if match := re.fullmatch(r"fit_dense(?:s\.(\d+))?\.(weight|bias)", key):
            found[f"{match[1] or 0}.{match[2]}"] = tensor.float()
    return found


# Entries of a configuration that tell where a model came from, and not what it computes.
_NO_MEANING = {"_name_or_path", "transformers_version", "architectures"}


def weights_digest(model: PreTrainedModel) -> str:
    """SHA-256 of the weights and the configuration that gives them meaning."""
    digest = hashlib.sha256()
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NO_MEANING}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy() if tensor.ndim else str(tensor).encode()
        )
    return digest.hexdigest()


def size_on_disk(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.stem != "projections") or sum(
        path.stat().st_size for path in folder.glob("*.bin")
    )


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


# What is raised for a file of weights that is cut off or no such file, besides torch's RuntimeError.
_DAMAGED = (SafetensorError, pickle.UnpicklingError, struct.error, EOFError)
_WHAT = {AutoConfig: "configuration", AutoTokenizer: "tokenizer"}  # else a model


def _load(auto_class: Any, name: str, **options: object) -> Any:
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local and not folder.is_dir():
        raise UserError(f"there is no model folder {name}; give a folder that holds config.json, or a hub id")
    if looks_local and not (folder / "config.json").is_file():
        raise UserError(f"the folder {name} holds no config.json; give one that `save_pretrained` wrote")
    try:
        return auto_class.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, StrictDataclassError, *_DAMAGED) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, _DAMAGED) or "PytorchStreamReader" in reason:
            raise UserError(
                f"the weights of {name} are damaged or cut off; copy or make them again ({reason})"
            ) from None
        if isinstance(error, RuntimeError):  # out of memory, or a fault of ours
            raise
        what = _WHAT.get(auto_class, "model")
        if looks_local:
            raise UserError(f"cannot load the {what} of {name}; check the folder's files ({reason})") from None
        raise UserError(
            f"there is no folder {name} here, and the {what} of that name could not be had from the hub either; check "
            f"the path, or download it to a folder on a machine with a network ({reason})"
        ) from None

"""Models with a head: loaded with a head that fits the task, and distinguished by their weights."""

import copy
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from glue_tasks.errors import UserError, warn_once
from glue_tasks.task import Task
from tinydistill.activations import apply_stated, forget_activation
from tinydistill.encoders.config import load_config, states_outputs
from tinydistill.encoders.weights import load_model
from tinydistill.kinds import kind_of
from tinydistill.label_order import align, permute_outputs, start_order
from tinydistill.onnx_model import OnnxModel, is_onnx
from tinydistill.text_task import is_text

M = TypeVar("M", bound=nn.Module)


def load_classifier(name: str, task: Task, fresh_head: bool) -> PreTrainedModel:
    """A model with a head of the task's kind, in float32.

    With `fresh_head` its head fits the task whatever was saved: the start of a fine-tuning; a saved head of the task's
    own labels is kept, in the task's order. Without, the model must have been saved with a head, which stays as it is;
    raises UserError if it was not.
    """
    kind = kind_of(task)
    model, info = load_model(kind.auto_model, name, **(kind.head() if fresh_head else {}))
    odd = info["mismatched_keys"]
    if odd and not fresh_head and all(key.startswith("classifier.") for key, *_ in odd) and not states_outputs(name):
        # Before transformers a configuration did not say how many labels there are; the weights do.
        model, info = load_model(kind.auto_model, name, num_labels=min(odd)[1][0])
    body = f"{model.base_model_prefix}." if model.base_model is not model else ""
    for key, saved, wanted in sorted(info["mismatched_keys"]):
        # A head of another size is meant to be replaced; a body that does not fit would silently be random.
        if not fresh_head or key.startswith(body):
            raise UserError(
                f"the weights of {name} do not fit its configuration: {key} is {_size(saved)} in the weights and "
                f"{_size(wanted)} by config.json; take both from the same model"
            )
    lost = sorted(key for key in info["missing_keys"] if not fresh_head or key.startswith(body))
    # Masked language models are saved without a pooler.
    lost = [key for key in lost if "pooler" not in key or not (fresh_head or model.base_model is model)]
    if lost and not fresh_head:
        how = f"`run_tinybert.py --phase teacher --task {task.name} --pretrained {name} --output-dir ...`"
        how = f"fine-tune one with {how}"
        if is_text(task):
            how = "choose one that was saved with its head, or objectives that need none, such as general-tinybert"
        raise UserError(f"{name} is not a fine-tuned {kind.head_name} (it has no {lost[0]}); {how}")
    if lost:
        raise UserError(
            f"the weights of {name} do not fit its configuration: {lost[0]} and {len(lost) - 1} more are missing; "
            "take both from the same model"
        )
    if fresh_head:
        forget_activation(model.config)
    if fresh_head and (order := start_order(task, load_config(name), name)):
        permute_outputs(model, order)
    if info["depends_on_padding"]:
        warn_once(
            f"the outputs of {name} change with the padding of a batch, as models of type {model.config.model_type!r} "
            "have it; train with --padding max_length, and expect other outputs at other lengths"
        )
    return model


def load_fine_tuned(name: str, task: Task) -> tuple[PreTrainedModel, list[str]]:
    """A classifier fine-tuned on the task, in float32, its outputs in the task's order and as its
    configuration means them; notes say what was done. That of an exported folder is run by ONNX Runtime.

    Raises UserError if it was saved without a head or has other labels.
    """
    model = _exported(name, task) if is_onnx(name) else load_classifier(name, task, fresh_head=False)
    notes = align(task, model, name, kind_of(task).head())
    return model, notes + [note for note in [apply_stated(model, name)] if note]


def _exported(name: str, task: Task) -> OnnxModel:
    """A model that was exported. Raises UserError if its head is of another kind than the task's."""
    model, kind = OnnxModel(name), kind_of(task)
    saved = (model.config.architectures or [""])[0]
    if saved.partition("For")[2] != kind.auto_model.__name__.partition("For")[2]:
        raise UserError(f"{name} is no fine-tuned {kind.head_name} but a {saved}; choose a model of {task.name}")
    return model


def load_as_saved(name: str) -> PreTrainedModel:
    """A model with the head that its configuration names, in float32, whatever the task; or an exported one.

    Raises UserError if the weights of the head are not there.
    """
    if is_onnx(name):
        return OnnxModel(name)
    saved = (load_config(name).architectures or [""])[0]
    auto = next((of for head, of in _HEADS.items() if saved.endswith(head)), AutoModel)
    model, info = load_model(auto, name)
    lost = [key for key in info["missing_keys"] if auto is not AutoModel or "pooler" not in key]
    lost += [key for key, *_ in info["mismatched_keys"]]
    if lost:
        raise UserError(
            f"the weights of {name} do not fit its configuration, which says {saved or 'nothing of its head'}: "
            f"{min(lost)} is missing or of another size; take both from the same model"
        )
    model.config.architectures = [type(model).__name__]
    return model.eval()


_HEADS = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForQuestionAnswering": AutoModelForQuestionAnswering,
    "ForMaskedLM": AutoModelForMaskedLM,
    "ForPreTraining": AutoModelForMaskedLM,  # as Google's checkpoints were saved
}


# Entries of a configuration that tell where a model came from, and not what it computes.
_NO_MEANING = {"_name_or_path", "transformers_version", "architectures"}


def meaning_of(config: PreTrainedConfig) -> str:
    """A configuration as JSON, without what tells where a model came from."""
    entries = {key: value for key, value in config.to_dict().items() if key not in _NO_MEANING}
    return json.dumps(entries, sort_keys=True, default=str)


def weights_digest(model: PreTrainedModel) -> str:
    """SHA-256 of the weights and the configuration that gives them meaning."""
    digest = hashlib.sha256()
    digest.update(meaning_of(model.config).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy() if tensor.ndim else str(tensor).encode()
        )
    return digest.hexdigest()


def size_on_disk(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.stem != "projections") or sum(
        path.stat().st_size for path in folder.glob("pytorch_model*.bin")
    )


def with_shared_weights(model: M) -> M:
    """A copy whose modules can be replaced and frozen without changing the model, over the same memory of weights."""
    shared: dict[int, torch.Tensor] = {id(buffer): buffer for buffer in model.buffers()}
    shared |= {id(own): nn.Parameter(own.data, own.requires_grad) for own in model.parameters()}
    return copy.deepcopy(model, shared)


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))

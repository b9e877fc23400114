"""Students: built from the teacher, from a shape, or loaded."""

import copy
import re
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel, set_seed

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill.encoders.load import find_file, load_config
from tinydistill.label_order import label_options
from tinydistill.layer_map import LayerMap
from tinydistill.models import load_classifier


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
    if own := find_file(name, "projections.safetensors"):
        try:
            return load_file(own)
        except SafetensorError as error:
            raise UserError(f"{own} is damaged ({error}); remove it, and new projections are made") from None
    if path := find_file(name, "model.safetensors"):
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys() if "fit_dense" in key}  # noqa: SIM118
    elif path := find_file(name, "pytorch_model.bin"):
        weights = torch.load(path, map_location="cpu", weights_only=True)
    else:
        return {}
    found = {}
    for key, tensor in weights.items():
        if match := re.fullmatch(r"(?:module\.)?fit_dense(?:s\.(\d+))?\.(weight|bias)", key):
            found[f"{match[1] or 0}.{match[2]}"] = tensor.float()
    return found

"""Students: built from the teacher, from a shape, or loaded."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, set_seed

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill.activations import without_activation
from tinydistill.encoders.config import load_config
from tinydistill.encoders.pretrained import find_file
from tinydistill.encoders.weight_files import find_weights, read_weights
from tinydistill.encoders.weights import check_finite
from tinydistill.kinds import kind_of
from tinydistill.layer_map import LayerMap
from tinydistill.models import load_classifier
from tinydistill.narrowing import Narrow, is_narrower, narrow
from tinydistill.shapes import SHAPES, Shape, check_heads, mobilebert_config, split_entries
from tinydistill.shapes import parse as parse_shape

STUDENT_FORMS = (
    "a folder, a hub id, init:layers=3 (copies of teacher blocks), init:layers=0,2,4 (of these, from 0), "
    "init:layers=3,hidden=312 (the same, narrower), a name that `python -m tinydistill shapes` lists or "
    "shape:layers=3,hidden=312,heads=12,ffn=1200 (fresh weights)"
)


@dataclass(frozen=True)
class StudentSpec:
    """What a student is made of: exactly one of path, shape and teacher_layers is set."""

    path: str = ""  # a folder or a hub id
    shape: Shape | None = None
    teacher_layers: int = 0  # how many teacher blocks to copy
    blocks: tuple[int, ...] = ()  # which, where they are not those that teach
    narrow: Narrow | None = None  # to what size they are reduced

    @staticmethod
    def parse(text: str) -> "StudentSpec":
        """Raises UserError if `init:` or `shape:` is not followed by what it needs."""
        if text.lower() in SHAPES:
            if (Path(text) / "config.json").exists():
                raise UserError(
                    f"{text} is a published shape and a folder with a model here; write ./{text} for the folder"
                )
            return StudentSpec(shape=SHAPES[text.lower()].shape)
        spec = None
        if text.startswith("init:"):
            spec = _parse_copied(text.removeprefix("init:"))
        elif text.startswith("shape:"):
            shape = parse_shape(text.removeprefix("shape:"))
            spec = StudentSpec(shape=shape) if shape else None
        else:
            return StudentSpec(path=text)
        if spec is None:
            raise UserError(f"--student {text!r} cannot be read; a student is {STUDENT_FORMS}")
        return spec

    def num_layers(self) -> int:
        """Blocks of the student."""
        if self.path:
            return load_config(self.path).num_hidden_layers
        return self.shape.layers if self.shape else self.teacher_layers

    @property
    def follows_layer_map(self) -> bool:
        """Whether its blocks are copies of those that teach."""
        return bool(self.teacher_layers and not self.blocks)

    def copied(self, layer_map: LayerMap) -> tuple[int, ...]:
        """The teacher's block that each of its blocks is made of; none if they are not made of such."""
        return (self.blocks or layer_map.blocks) if self.teacher_layers else ()


def _parse_copied(text: str) -> StudentSpec | None:
    """`layers=3`, `layers=0,2,4` or `layers=5,` (one block), and sizes; None if it is no such text."""
    entries = split_entries(text)
    if entries is None or not {"layers"} <= entries.keys() <= {"layers", "hidden", "heads", "ffn"}:
        return None
    layers = entries.pop("layers")
    if not all(re.fullmatch(r"[1-9]\d*", value) for value in entries.values()):
        return None
    narrow = Narrow(**{name: int(value) for name, value in entries.items()}) if entries else None
    if re.fullmatch(r"[1-9]\d*", layers):
        return StudentSpec(teacher_layers=int(layers), narrow=narrow)
    if not re.fullmatch(r"\d+,|\d+(,\d+)+", layers):
        return None
    blocks = tuple(int(block) for block in layers.rstrip(",").split(","))
    if repeated := [block for block in blocks if blocks.count(block) > 1]:
        raise UserError(f"--student init:{text} names block {repeated[0]} more than once; name each block once")
    return StudentSpec(teacher_layers=len(blocks), blocks=blocks, narrow=narrow)


def build_student(
    spec: StudentSpec,
    teacher: PreTrainedModel,
    task: Task,
    layer_map: LayerMap,
    seed: int,
    rows: Callable[[], Mapping[str, Tensor]] | None = None,
) -> PreTrainedModel:
    """The student before training, in float32; equal seeds give equal weights. Its head fits the task.

    rows: gives `input_ids` and `attention_mask` (B, L) of texts, by whose states a narrower student is made; asked for
    when its sizes are known to be possible. Raises UserError if they are not.
    """
    set_seed(seed)
    if spec.path:
        return load_classifier(spec.path, task, fresh_head=True)
    copied = spec.copied(layer_map)
    config = student_config(spec, teacher.config, task, copied or layer_map.blocks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # of a MobileBERT's masked-LM head
        student = kind_of(task).auto_model.from_config(config).float()
    if copied:
        start_from(teacher, student, copied, rows() if rows and spec.narrow else None)
    return student


def student_config(
    spec: StudentSpec, teacher: PreTrainedConfig, task: Task, blocks: Sequence[int] = ()
) -> PreTrainedConfig:
    """What the student's configuration is or will be. Raises UserError if its sizes cannot be.

    blocks: the teacher's block of each of the student's, from which it takes what a configuration lists block by block
    (local or global attention); without them they are spread evenly.
    """
    if spec.path:
        return load_config(spec.path)
    if spec.shape and spec.shape.bottleneck:
        config = mobilebert_config(spec.shape, teacher)
        config.update(kind_of(task).head())
        return config
    depth, own_depth = teacher.num_hidden_layers, spec.num_layers()
    if outside := [block for block in spec.blocks if block >= depth]:
        raise UserError(
            f"--student names block {outside[0]} to copy; the teacher's {depth} blocks are numbered 0 to {depth - 1}"
        )
    shape = spec.narrow.shape(teacher, own_depth) if spec.narrow else spec.shape
    blocks = blocks or spec.blocks
    blocks = blocks or [max((i + 1) * depth // own_depth - 1, 0) for i in range(own_depth)]
    entries = {**without_activation(teacher.to_dict()), **kind_of(task).head()}
    for name in _OF_THE_TEACHER:
        entries.pop(name, None)
    if not task.labels:  # one value without a name
        entries.pop("id2label", None), entries.pop("label2id", None)
    # DistilBERT and others have names of their own, which their configuration maps.
    depth_name, width, heads, ffn = (
        teacher.attribute_map.get(name, name)
        for name in ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    )
    ffn = "hidden_dim" if teacher.model_type == "distilbert" else ffn  # which it does not map
    for name, value in entries.items():
        if isinstance(value, list | tuple) and len(value) == depth and name != "architectures":
            entries[name] = [value[block] for block in blocks]
    entries[depth_name] = own_depth
    if getattr(teacher, "num_hidden_groups", 1) > 1:  # of ALBERT: each block has its own copy
        entries["num_hidden_groups"] = own_depth
    if shape:
        check_heads(shape)
        if missing := {width, heads, ffn} - entries.keys():
            raise UserError(
                f"models of type {teacher.model_type!r} have no {min(missing)}, and cannot be given a shape; make the "
                "student of the teacher's blocks with init:layers=..."
            )
        _fit_to_shape(entries, teacher, shape)
        entries |= {width: shape.hidden, heads: shape.heads, ffn: shape.ffn}
    return type(teacher).from_dict(entries)


_OF_THE_TEACHER = ("_name_or_path", "auto_map")  # which say where it comes from, and where its code lies


def _fit_to_shape(entries: dict[str, Any], teacher: PreTrainedConfig, shape: Shape) -> None:
    """Change what else depends on the shape; a bottleneck of the teacher's, which no shape names, goes."""
    for name, value in entries.items():
        # Of the embeddings or the pooler, as wide as the teacher; else they have a width of their own.
        follows = value == teacher.hidden_size and name.endswith(("_size", "_dim")) and "vocab" not in name
        if follows or name in ("true_hidden_size", "intra_bottleneck_size"):
            entries[name] = shape.hidden
    if shape.embedding:
        if "embedding_size" not in entries:
            raise UserError(
                f"models of type {teacher.model_type!r} have word embeddings as wide as their hidden states; leave "
                "embedding= out"
            )
        entries["embedding_size"] = shape.embedding
    if "use_bottleneck" in entries:  # MobileBERT
        entries["use_bottleneck"] = False
    if entries.get("head_dim") is not None:
        entries["head_dim"] = shape.hidden // shape.heads
    if entries.get("num_key_value_heads") is not None:
        entries["num_key_value_heads"] = shape.heads


def start_from(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    blocks: Sequence[int],
    rows: Mapping[str, Tensor] | None = None,
) -> None:
    """Block i of the student from block `blocks[i]` of the teacher, and all else too; narrowed, if it is smaller."""
    if is_narrower(student.config, teacher.config):
        narrow(teacher, student, blocks, rows)
    else:
        copy_blocks(teacher, student, blocks)


def copy_blocks(teacher: PreTrainedModel, student: PreTrainedModel, blocks: Sequence[int]) -> None:
    """Embeddings, pooler and head from the teacher; block i of the student from block `blocks[i]` of the teacher."""
    sources: dict[str, tuple[int, ...]] = {}  # of each list of blocks, which is as long as the model is deep
    depths = (teacher.config.num_hidden_layers, student.config.num_hidden_layers)
    lists = {name: len(module) for name, module in teacher.named_modules() if isinstance(module, nn.ModuleList)}
    groups = getattr(teacher.config, "num_hidden_groups", 1)
    for name, module in student.named_modules():
        if not isinstance(module, nn.ModuleList) or any(name.startswith(f"{stack}.") for stack in sources):
            continue
        if groups > 1 and len(module) == depths[1] and lists[name] == groups:  # ALBERT
            sources[name] = tuple(int(block / (depths[0] / groups)) for block in blocks)
        elif (lists[name], len(module)) == depths:
            sources[name] = tuple(blocks)
    weights = teacher.state_dict()
    own = {}
    for key in student.state_dict():
        source = key
        for stack, of_teacher in sources.items():
            if match := re.match(rf"{re.escape(stack)}\.(\d+)\.", key):
                source = f"{stack}.{of_teacher[int(match[1])]}.{key[match.end() :]}"
        own[key] = weights[source]
    student.load_state_dict(own)


def load_projections(name: str) -> dict[str, torch.Tensor]:
    """The trained projections that lie beside a student, as `weight` or `bias` by `<place>.<name>`; {} if none.

    Known are our own `projections.safetensors` and, inside the weights, the `fit_denses.<m>` and the single shared
    `fit_dense` of the published TinyBERT students.
    """
    if own := find_file(name, "projections.safetensors"):
        try:
            found = load_file(own)
        except SafetensorError as error:
            raise UserError(f"{own} is damaged ({error}); remove it, and new projections are made") from None
        check_finite(str(own), found)
        return found
    weights = read_weights(name, find_weights(name), r"fit_dense(s\.\d+)?\.(weight|bias)$")
    several = {key.removeprefix("fit_denses."): each for key, each in weights.items() if key.startswith("fit_denses.")}
    found = several or {key.replace("fit_dense", "0"): each for key, each in weights.items()}
    found = {key: each.float() for key, each in found.items()}
    check_finite(name, found)
    return found

"""A teacher whose blocks multiply 8-bit integers.

LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339): rows of states and of weights are scaled to integers, each by its
own largest magnitude, but for the few columns of states that are far larger than the others in every trained BERT.
These are multiplied as they are. There, a column is found in each batch by a threshold; here, once, on calibration
batches, so that what a row gives depends on no other row. What is done to each row besides the products takes much of
what they save: it pays for wide models and long texts (docs/speed.md).
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill import processes
from tinydistill.distiller import accepted_inputs
from tinydistill.precision import autocast

# Columns kept apart. Of a MiniLM fine-tuned on SST-2 the last hidden states are off by 6.6% without any, 3.1% with 8,
# 3.0% with 16 and 2.8% with 32, which take a twentieth of a block's time.
OUTLIERS = 16
_LARGEST = 127
_ROWS_AT_LEAST = 17  # CUDA's product takes no fewer, and a compiled function would be made anew for a single row
_MULTIPLE = 8  # of CUDA's product, in both sizes of the weights


class Int8Linear(nn.Module):
    """x W' + b of a linear layer: the given columns of x in `dtype`, the others in 8-bit integers."""

    weight: Tensor  # (out, in), int8; zero in the columns kept apart
    scale: Tensor  # (out,), float32
    columns: Tensor  # (k,)
    others: Tensor  # (in,): 0 in the columns kept apart, else 1
    outlier_weight: Tensor  # (out, k), of `dtype`
    bias: Tensor  # (out,), float32

    def __init__(self, linear: nn.Linear, columns: Tensor, dtype: torch.dtype):
        super().__init__()
        weight = linear.weight.detach().float()
        columns = columns.to(weight.device)
        others = torch.ones_like(weight[0]).index_fill(0, columns, 0)
        rest = weight * others
        scale = rest.abs().amax(dim=1).clamp(min=1e-12) / _LARGEST
        self.register_buffer("weight", (rest / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("columns", columns)
        self.register_buffer("others", others)
        self.register_buffer("outlier_weight", weight[:, columns].to(dtype))
        bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) -> (..., out) in `dtype`."""
        # As a view it would carry its base's shape and strides, and for others the functions would be made anew.
        rows = torch.ops.aten._unsafe_view(states.contiguous(), (-1, states.shape[-1]))
        count = len(rows)
        if count < _ROWS_AT_LEAST:
            rows = nn.functional.pad(rows, (0, 0, 0, _ROWS_AT_LEAST - count))
        dtype = self.outlier_weight.dtype
        integers, scale, outliers = _compiled(_quantise)(rows, self.columns, self.others, dtype)
        # To float32 by itself: in one compiled pass with bf16 this step alone takes longer than all the rest.
        product = torch._int_mm(integers, self.weight.T).float()
        apart = nn.functional.linear(outliers, self.outlier_weight)
        result = _compiled(_dequantise)(product, scale, self.scale, apart, self.bias)
        return result[:count].reshape(*states.shape[:-1], -1)


def _quantise(rows: Tensor, columns: Tensor, others: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(M, in) -> integers (M, in), their scale by row (M, 1), and the columns kept apart (M, k)."""
    outliers = rows[:, columns].to(dtype)
    rest = rows.float() * others
    scale = rest.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / _LARGEST
    return (rest / scale).round().to(torch.int8), scale, outliers


def _dequantise(product: Tensor, row_scale: Tensor, scale: Tensor, apart: Tensor, bias: Tensor) -> Tensor:
    """(M, out) of integers, and (M, out) of the columns kept apart -> their sum."""
    return (product * row_scale * scale + apart + bias).to(apart.dtype)


@functools.cache
def _compiled(function: Callable) -> Callable:
    """One for all layers: pass by pass over (M, in) they would cost what the integers save."""
    return torch.compile(function, dynamic=True)


def check_device(device: torch.device) -> None:
    """Raises UserError where there is no product of 8-bit integers."""
    if device.type not in ("cpu", "cuda"):
        raise UserError(
            f"8-bit products are for CPUs and CUDA, and models run on {device.type} here; leave out "
            "--teacher-precision int8"
        )


def use_int8(teacher: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], precision: str) -> None:
    """Replace the linear layers of a model's blocks; head, pooler and embeddings stay as they are.

    The columns kept apart are those of the largest inputs in the batches. All processes of a run take the first one's.
    The model is run once, so that what has to be compiled is. Raises UserError if the model has no such layers, if its
    device has no such product, or without a C++ compiler.
    """
    check_device(teacher.device)
    batches = list(batches)
    columns = processes.from_first(lambda: _outlier_columns(teacher, batches, precision))
    for name, chosen in columns.items():
        linear = teacher.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        _check_sizes(linear, teacher.device)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        teacher.set_submodule(name, Int8Linear(linear, torch.tensor(chosen, dtype=torch.long), dtype))
    try:
        _run(teacher, batches[0], precision)
    except Exception as error:
        if "compile" not in f"{type(error).__module__}{type(error).__name__}{error}".lower():
            raise
        raise UserError(
            "8-bit products could not be compiled; install a C++ compiler such as g++, or leave out "
            f"--teacher-precision int8: {str(error).strip().splitlines()[0]}"
        ) from None


def _check_sizes(linear: nn.Linear, device: torch.device) -> None:
    """Raises UserError if CUDA cannot multiply such a layer."""
    if device.type == "cuda" and (linear.in_features % _MULTIPLE or linear.out_features % _MULTIPLE):
        raise UserError(
            f"CUDA multiplies 8-bit integers in multiples of {_MULTIPLE}, and a layer of the teacher is "
            f"{linear.in_features} x {linear.out_features}; leave out --teacher-precision int8"
        )


def _outlier_columns(model: PreTrainedModel, batches: list[Mapping[str, Tensor]], precision: str) -> dict:
    """Name of each linear layer in the blocks -> its input columns of largest magnitude over all valid pieces."""
    largest: dict[str, Tensor] = {}

    def note(name: str, states: Tensor, valid: Tensor) -> None:
        if states.shape[:-1] != valid.shape:  # not the states of the pieces: DeBERTa's relative positions
            return
        seen = states[valid].float().abs().amax(dim=0)
        largest[name] = torch.maximum(largest.get(name, seen), seen)

    # What stands in a list is a block: not so embeddings, their projection, and the pooler.
    names = [n for n, m in model.base_model.named_modules() if isinstance(m, nn.Linear) and _in_list(n)]
    prefix = f"{model.base_model_prefix}." if model.base_model is not model else ""
    for batch in batches:
        valid = batch["attention_mask"].to(model.device).bool()
        hooks = [
            model.get_submodule(prefix + name).register_forward_pre_hook(
                lambda module, inputs, name=prefix + name, valid=valid: note(name, inputs[0], valid)
            )
            for name in names
        ]
        try:
            _run(model, batch, precision)
        finally:
            for hook in hooks:
                hook.remove()
    if not largest:
        raise UserError(
            f"a teacher of type {model.config.model_type!r} has no linear layers in its blocks; leave out "
            "--teacher-precision int8"
        )
    return {
        name: seen.topk(min(OUTLIERS, len(seen) // 8)).indices.sort().values.tolist() for name, seen in largest.items()
    }


def _in_list(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


@torch.inference_mode()
def _run(model: PreTrainedModel, batch: Mapping[str, Tensor], precision: str) -> Any:
    inputs = {name: batch[name].to(model.device) for name in accepted_inputs(model) if name in batch}
    with autocast(precision, model.device):
        return model(**inputs)

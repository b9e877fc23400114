"""A teacher whose blocks multiply 8-bit integers.

Each row of states is scaled to unsigned integers from its smallest to its largest value, each row of weights to signed
ones by its largest magnitude. In every trained BERT a few columns of states are far larger than the others and would
leave these no steps; so a column is first divided, and its weights multiplied, by the root of what its largest input is
to its largest weight (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438, equation 4 with alpha 0.5). The largest inputs
are found once, on calibration batches, so that what a row gives depends on no other row.
"""

import functools
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.precision import autocast

_STEPS, _LARGEST = 255, 127  # of states, of weights
_ROWS = 512  # of the states that the layout is made for; for others it serves as well
_ROWS_AT_LEAST = 2  # for a single one the compiled functions would be made anew


class Int8Linear(nn.Module):
    """x W' + b of a linear layer, both factors in 8-bit integers."""

    weight: Tensor  # (out, in), int8, in oneDNN's own layout
    scale: Tensor  # (out,), float32
    sums: Tensor  # (out,), float32: of the rows of the scaled weights
    smooth: Tensor  # (in,), float32: what the states' columns are multiplied by
    bias: Tensor  # (out,), float32

    def __init__(self, linear: nn.Linear, largest: Tensor, dtype: torch.dtype):
        """`largest` (in,): the largest magnitudes of the inputs; `dtype` is the result's."""
        super().__init__()
        self.dtype = dtype
        weight = linear.weight.detach().float()
        factor = (largest.clamp(min=1e-5) / weight.abs().amax(dim=0).clamp(min=1e-5)).sqrt()
        weight = weight * factor
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / _LARGEST
        integers = (weight / scale[:, None]).round()
        self.register_buffer(
            "weight", torch.ops.onednn.qlinear_prepack(integers.to(torch.int8), [_ROWS, weight.shape[1]])
        )
        self.register_buffer("scale", scale)
        self.register_buffer("sums", integers.sum(dim=1) * scale)
        self.register_buffer("smooth", 1 / factor)
        bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) -> (..., out) in `dtype`."""
        # As a view it would carry its base's shape and strides, and for others the functions would be made anew.
        rows = torch.ops.aten._unsafe_view(states.contiguous(), (-1, states.shape[-1]))
        count = len(rows)
        if count < _ROWS_AT_LEAST:
            rows = nn.functional.pad(rows, (0, 0, 0, _ROWS_AT_LEAST - count))
        integers, step, low = _compiled(_quantise)(rows, self.smooth)
        product = torch.ops.onednn.qlinear_pointwise(
            integers, 1.0, 0, self.weight, self.scale, None, None, 1.0, 0, torch.float32, "none", [], ""
        )
        result = _compiled(_dequantise)(product, step, low, self.sums, self.bias, self.dtype)
        return result[:count].reshape(*states.shape[:-1], -1)


def _quantise(rows: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(M, in) -> integers (M, in), and by row (M, 1) how much a step is and where 0 lies."""
    smoothed = rows.float() * smooth
    low = smoothed.amin(dim=-1, keepdim=True)
    step = ((smoothed.amax(dim=-1, keepdim=True) - low) / _STEPS).clamp(min=1e-12)
    return ((smoothed - low) / step).round().to(torch.uint8), step, low


def _dequantise(product: Tensor, step: Tensor, low: Tensor, sums: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, out) of the integers -> of what they stand for."""
    return (product * step + low * sums + bias).to(dtype)


@functools.cache
def _compiled(function: Callable) -> Callable:
    """One for all layers: pass by pass over (M, in) they would cost what the integers save."""
    return torch.compile(function, dynamic=True)


def check_device(device: torch.device) -> None:
    """Raises UserError where there is no product of 8-bit integers."""
    if device.type != "cpu":
        raise UserError(
            f"8-bit products are for the CPU, and models run on {device.type} here; leave out --teacher-precision int8"
        )
    # Older x86 processors add pairs of products in 16 bits, which overflow.
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not (x86 and torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        raise UserError(
            "8-bit products need an x86 processor with AVX512-VNNI, which is not here; leave out "
            "--teacher-precision int8"
        )


def use_int8(
    teacher: PreTrainedModel,
    batches: Iterable[Mapping[str, Tensor]],
    precision: str,
    share: Callable[[Callable[[], Any]], Any] = lambda found: found(),
) -> None:
    """Replace the linear layers of a model's blocks; head, pooler and embeddings stay as they are.

    The largest inputs are those in the batches. `share` gives all processes of a run what one of them found. The model
    is run once, so that what has to be compiled is. Raises UserError if the model has no such layers, if its device has
    no such product, or without a C++ compiler.
    """
    check_device(teacher.device)
    batches = list(batches)
    largest = share(lambda: _largest_inputs(teacher, batches, precision))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for name, of_columns in largest.items():
        linear = teacher.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        teacher.set_submodule(name, Int8Linear(linear, torch.tensor(of_columns), dtype))
    try:
        _run(teacher, batches[0], precision)
    except Exception as error:
        if "compile" not in f"{type(error).__module__}{type(error).__name__}{error}".lower():
            raise
        raise UserError(
            "8-bit products could not be compiled; install a C++ compiler such as g++, or leave out "
            f"--teacher-precision int8: {str(error).strip().splitlines()[0]}"
        ) from None


def _largest_inputs(model: PreTrainedModel, batches: list[Mapping[str, Tensor]], precision: str) -> dict:
    """Name of each linear layer in the blocks -> its inputs' largest magnitudes by column, over all valid pieces."""
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
    return {name: seen.tolist() for name, seen in largest.items()}


def _in_list(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


@torch.inference_mode()
def _run(model: PreTrainedModel, batch: Mapping[str, Tensor], precision: str) -> Any:
    inputs = {name: batch[name].to(model.device) for name in accepted_inputs(model) if name in batch}
    with autocast(precision, model.device):
        return model(**inputs)

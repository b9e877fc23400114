"""Linear layers that multiply 8-bit integers, in the blocks of a model that is no longer trained.

Each row of states is scaled to unsigned integers from its smallest to its largest value, each row of weights to signed
ones by its largest magnitude. In every trained BERT a few columns of states are far larger than the others and would
leave these no steps; so a column is first divided, and its weights multiplied, by the root of what its largest input is
to its largest weight (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438, equation 4 with alpha 0.5). The largest inputs
are found once, on calibration batches, so that the result of a row depends on no other row.

There is no plain twin that gives the same. Processors without VNNI add pairs of products in 16 bits, which hold those
of 7-bit states; there the states have half the steps (PyTorch calls it reduce_range).
"""

import functools
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError, is_outside
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.precision import autocast

_STEPS, _REDUCED_STEPS = 255, 127  # of states
_LARGEST = 127  # of weights
_ROWS = 512  # of the states that the layout is made for; for others it serves as well
_ROWS_AT_LEAST = 2  # for a single one the compiled functions would be made anew


class Int8Linear(nn.Module):
    """x W' + b of a linear layer, both factors in 8-bit integers; `check_device` tells whether there is such a product.

    largest: (in,), the largest magnitudes of the inputs. dtype: of the result.
    """

    weight: Tensor  # (out, in), int8, in oneDNN's own layout
    scale: Tensor  # (out,), float32
    sums: Tensor  # (out,), float32: of the rows of the scaled weights
    smooth: Tensor  # (in,), float32: what the states' columns are multiplied by
    bias: Tensor  # (out,), float32

    def __init__(self, linear: nn.Linear, largest: Tensor, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        weight = linear.weight.detach().float()
        factor = (largest.clamp(min=1e-5) / weight.abs().amax(dim=0).clamp(min=1e-5)).sqrt()
        weight = weight * factor
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / _LARGEST
        integers = (weight / scale[:, None]).round()
        self.register_buffer("weight", _packed(integers))
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
        integers, step, low = _compiled(_quantisers[steps()])(rows, self.smooth)
        product = _product(integers, self.weight, self.scale)
        result = _compiled(_dequantise)(product, step, low, self.sums, self.bias, self.dtype)
        return result[:count].reshape(*states.shape[:-1], -1)


def _packed(integers: Tensor) -> Tensor:
    return torch.ops.onednn.qlinear_prepack(integers.to(torch.int8), [_ROWS, integers.shape[1]])


def _product(states: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Of integers (M, in) and packed ones (out, in), each row of these times its scale: (M, out), float32."""
    return torch.ops.onednn.qlinear_pointwise(
        states, 1.0, 0, weight, scale, None, None, 1.0, 0, torch.float32, "none", [], ""
    )


def _quantise_to(steps: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    def quantise(rows: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(M, in) -> integers (M, in), and by row (M, 1) how much a step is and where 0 lies."""
        smoothed = rows.float() * smooth
        low = smoothed.amin(dim=-1, keepdim=True)
        step = ((smoothed.amax(dim=-1, keepdim=True) - low) / steps).clamp(min=1e-12)
        return ((smoothed - low) / step).round().to(torch.uint8), step, low

    return quantise


_quantisers = {steps: _quantise_to(steps) for steps in (_STEPS, _REDUCED_STEPS)}


def _dequantise(product: Tensor, step: Tensor, low: Tensor, sums: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, out) of the integers -> of what they stand for."""
    return (product * step + low * sums + bias).to(dtype)


@functools.cache
def _compiled(function: Callable) -> Callable:
    """One for all layers: pass by pass over (M, in) they would cost what the integers save."""
    return torch.compile(function, dynamic=True)


@functools.cache
def steps() -> int:
    """Steps of the states whose products this processor adds up without loss; 0 if there is no such product here."""
    return next((steps for steps in (_STEPS, _REDUCED_STEPS) if _is_exact(steps)), 0)


def _is_exact(steps: int) -> bool:
    """Whether the largest products of all come out as they should."""
    if platform.machine().lower() not in ("x86_64", "amd64"):  # on others oneDNN hands on to libraries not tried here
        return False
    with torch.device("cpu"), torch.inference_mode(False):
        states = torch.full((64, 256), steps, dtype=torch.uint8)
        weights = torch.tensor([[_LARGEST, _LARGEST], [-_LARGEST, -_LARGEST], [_LARGEST, -_LARGEST]]).repeat(16, 128)
        try:
            found = _product(states, _packed(weights), torch.ones(len(weights)))
        except Exception as error:  # an operator that is missing or called otherwise
            if is_outside(error):
                raise
            return False
    return torch.equal(found.long(), states.long() @ weights.T)


def check_device(device: torch.device) -> None:
    """Raises UserError where there is no product of 8-bit integers."""
    if device.type != "cpu":
        raise UserError(
            f"8-bit products are for the CPU, and models run on {device.type} here; choose another precision than int8"
        )
    if not steps():
        raise UserError(
            "8-bit products need an x86 processor and a PyTorch built with oneDNN, which are not here; choose "
            "another precision than int8"
        )


def quantise(model: PreTrainedModel, largest: Mapping[str, list[float]], precision: str) -> None:
    """Replace the linear layers of a model's blocks; head, pooler and embeddings stay as they are.

    largest: as `largest_inputs` finds them. precision: of the rest of the model. Each layer is run once, so that what
    has to be compiled is. Raises UserError without a C++ compiler, or if the model's device has no such product.
    """
    check_device(model.device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    try:
        for name, of_columns in largest.items():
            linear = model.get_submodule(name)
            assert isinstance(linear, nn.Linear)
            layer = Int8Linear(linear, torch.tensor(of_columns), dtype)
            with torch.no_grad(), autocast(precision, model.device):
                layer(torch.zeros(_ROWS_AT_LEAST, linear.in_features, dtype=dtype))
            model.set_submodule(name, layer)
    except Exception as error:
        if "compile" not in f"{type(error).__module__}{type(error).__name__}{error}".lower():
            raise
        raise UserError(
            f"8-bit products could not be compiled; install a C++ compiler such as g++, or choose another "
            f"precision than int8: {str(error).strip().splitlines()[0]}"
        ) from None


def largest_inputs(
    model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], precision: str
) -> dict[str, list[float]]:
    """Name of each linear layer in the blocks -> its inputs' largest magnitudes by column, over all non-padding tokens.

    Raises UserError if the model has no such layers, or if its device has no 8-bit products.
    """
    check_device(model.device)
    largest: dict[str, Tensor] = {}

    def note(name: str, states: Tensor, valid: Tensor) -> None:
        if states.shape[:-1] != valid.shape:  # not the states of the tokens: DeBERTa's relative positions
            return
        seen = states[valid].float().abs().amax(dim=0)
        largest[name] = torch.maximum(largest.get(name, seen), seen)

    # Modules in a list are blocks: not so embeddings, their projection, and the pooler.
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
            f"a model of type {model.config.model_type!r} has no linear layers in its blocks; choose another precision "
            "than int8"
        )
    return {name: seen.tolist() for name, seen in largest.items()}


def _in_list(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


@torch.inference_mode()
def _run(model: PreTrainedModel, batch: Mapping[str, Tensor], precision: str) -> Any:
    inputs = {name: batch[name].to(model.device) for name in accepted_inputs(model) if name in batch}
    with autocast(precision, model.device):
        return model(**inputs)

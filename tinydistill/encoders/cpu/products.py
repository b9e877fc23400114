"""The products of a model that is no longer trained, prepared once for all batches.

oneDNN lays weights out in blocks before it multiplies, and autocast casts them to bf16; both would be done again for
each batch (docs/speed.md).
"""

import contextlib
import platform
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tinydistill.encoders.cpu.choice import uses

_ROWS = 512  # of the states that the layout is made for; for others it serves as well


class PackedLinear(nn.Module):
    """x W' + b of a linear layer, for the CPU and without a gradient; x is cast to the weights' type."""

    weight: Tensor  # (out, in), in oneDNN's own layout
    bias: Tensor | None  # (out,)

    def __init__(self, linear: nn.Linear, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        weight = linear.weight.detach().to(dtype)
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(dtype))

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) -> (..., out) in the weights' type."""
        return torch.ops.mkldnn._linear_pointwise(states.to(self.dtype), self.weight, self.bias, "none", [], "")


def prepare_products(model: nn.Module, precision: str, pack: bool = True) -> None:
    """Prepare a model's linear layers for a precision, in place; from here on it runs at that precision alone.

    On the CPU they are packed, and agree with the model's to rounding. Elsewhere, or without `pack`, their weights are
    kept in the precision's type, as autocast makes them. What is prepared already, or has no weights of the kind, stays
    as it is.
    """
    dtype = _DTYPES[precision]
    for name, linear in _linear_layers(model).items():
        if pack and _can_pack(linear, dtype):
            model.set_submodule(name, PackedLinear(linear, dtype))
        else:
            for key, values in list(linear.named_parameters()):  # anew: an embedding may share them
                setattr(linear, key, nn.Parameter(values.detach().to(dtype), requires_grad=False))


@contextlib.contextmanager
def packed_products(model: nn.Module, precision: str) -> Iterator[None]:
    """Pack a model's linear layers, where that can be done, for as long as the context lasts."""
    dtype = _DTYPES[precision]
    layers = {name: linear for name, linear in _linear_layers(model).items() if _can_pack(linear, dtype)}
    try:
        for name, linear in layers.items():
            model.set_submodule(name, PackedLinear(linear, dtype))
        yield
    finally:
        for name, linear in layers.items():
            model.set_submodule(name, linear)


_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if type(module) is nn.Linear}


def _can_pack(linear: nn.Linear, dtype: torch.dtype) -> bool:
    """Whether the layer runs on an x86 processor whose packed products of the type are the faster ones."""
    if linear.weight.device.type != "cpu" or dtype == torch.float16:
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):  # on others oneDNN hands on to libraries not tried here
        return False
    if not (_has_bf16() if dtype == torch.bfloat16 else _has_avx512()):
        return False
    return uses("products of packed weights", _check, dtype)


def _has_avx512() -> bool:
    """With AVX2 alone oneDNN's float32 products of packed weights take up to 1.18 times as long as the plain ones."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _has_bf16() -> bool:
    with contextlib.suppress(AttributeError):
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return False


@torch.no_grad()
def _check(dtype: torch.dtype) -> None:
    linear, states = nn.Linear(48, 32, dtype=dtype), torch.randn(5, 48, dtype=dtype)
    off = 1e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(PackedLinear(linear, dtype)(states), linear(states), rtol=off, atol=off)

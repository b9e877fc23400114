"""Dropout for training on the CPU in less than half the time: four draws from each 64 random bits.

PyTorch draws one number after another for it, in one thread. Elsewhere than on the CPU PyTorch's own is used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinydistill.encoders.cpu.choice import uses

_DRAWS = 2**16  # a draw is 16 of the bits: the probability is p to within 1/131,072


def dropout(states: Tensor, p: float, training: bool = True) -> Tensor:
    """Each element with probability p zero, else divided by 1 − p. The same shape and type.

    The plain twin, `torch.nn.functional.dropout`, draws other elements from the same seed.
    """
    if not training or p == 0.0:
        return states
    if states.device.type != "cpu" or not uses("dropout of four draws from 64 bits", _check):
        return F.dropout(states, p)
    return _Dropout.apply(states, p)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, p: float) -> Tensor:
        factors = _factors(states, p)
        ctx.save_for_backward(factors)
        return states * factors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors
        return gradients[0] * factors, None


def _factors(states: Tensor, p: float) -> Tensor:
    """0 or 1 / (1 − p) for each element."""
    count = states.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = bits.view(torch.int16)[:count].view(states.shape)  # uniform from -2¹⁵ to 2¹⁵ - 1
    kept = (draws >= round(p * _DRAWS) - _DRAWS // 2).view(torch.int8)  # faster to convert than truth values
    return kept.to(states.dtype).mul_(1 / (1 - p) if p < 1 else 0.0)


def _check() -> None:
    """The values and the gradient of the plain twin, as frequent as they should be to six standard deviations."""
    p, states = 0.25, torch.ones(10_000, requires_grad=True)
    ours, plain = _Dropout.apply(states, p), F.dropout(states, p)
    ours.sum().backward()
    torch.testing.assert_close(ours.unique(), plain.unique())
    torch.testing.assert_close(states.grad, ours.detach())
    torch.testing.assert_close((ours == 0).float().mean(), torch.tensor(p), rtol=0, atol=0.026)


class Dropout(nn.Dropout):
    """nn.Dropout, drawn as `dropout` does."""

    def forward(self, states: Tensor) -> Tensor:
        return dropout(states, self.p, self.training)


def replace_dropout(model: nn.Module) -> None:
    """Let every nn.Dropout of the model draw as `dropout` does."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout

"""What the losses share: float32 or better, and sums that padding does not reach."""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """In float32 at least; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def zero_padding(states: Tensor, valid: Tensor) -> Tensor:
    """`wide` states (B, ..., L, D) with zeros where valid (B, L) is False: then nothing there, not even NaN, has an
    effect or a gradient."""
    padded = ~valid.reshape(len(valid), *[1] * (states.ndim - 3), valid.shape[1], 1)
    return wide(states).masked_fill(padded, 0.0)


def count(valid: Tensor) -> Tensor:
    """Tokens of each example, (B,), and 1 for one without any: its sums are 0, and so are its means."""
    return valid.sum(1).clamp(min=1)

"""Attention of encoders on the CPU: in float32 whatever the precision, with our dropout, and keys filled up.

For short texts and in bf16 PyTorch's own is the slower one (docs/speed.md).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tinydistill.encoders.cpu.choice import uses
from tinydistill.encoders.cpu.dropout import dropout as drop_out

_LANES = 16  # float32 values that a processor takes at once, at most

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    dropout: float,
    fused: Attention,
    mask_is_all: bool,
) -> Tensor:
    """Attention output, (B, L, H, d), of queries, keys and values (B, H, L, d).

    mask: (B, 1, L, L), True where a key counts, or what is added to the scores. fused: the plain twin, PyTorch's own,
    of queries, keys, values and mask. mask_is_all: whether nothing but the mask decides which keys count and how much.
    """
    if not uses("attention in float32 with keys filled up", _check):
        return fused(query, key, value, mask)
    if dropout and mask_is_all:
        return _with_dropout(query, for_each_head(key, query), for_each_head(value, query), mask, scale, dropout)
    if mask_is_all:
        key, value, mask = _filled_up(key, value, mask)
    return _in_float32(query, key, value, mask, fused)


def for_each_head(states: Tensor, query: Tensor) -> Tensor:
    """Keys or values (B, heads of keys, L, d) as (B, H, L, d): several heads of queries may share one of keys."""
    heads = query.shape[1] // states.shape[1]
    return states if heads == 1 else states.repeat_interleave(heads, dim=1)


def _in_float32(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, fused: Attention) -> Tensor:
    """PyTorch's own, (B, L, H, d), in float32, where it is faster than in bf16, casts included."""
    with torch.autocast("cpu", enabled=False):
        return fused(_wide(query), _wide(key), _wide(value), mask).to(value.dtype)


def _filled_up(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys that are masked, up to a multiple of 16: of others PyTorch takes the exponentials of the rest one by one.

    For 9 to 15 keys that is much of the time; for many the rest is a small part, and a copy costs more.
    """
    length = key.shape[2]
    more = -length % _LANES
    if length > 2 * _LANES or not 0 < more <= _LANES // 2:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, length, dtype=torch.bool, device=key.device)
    masked = False if mask.dtype == torch.bool else -torch.inf
    return F.pad(key, (0, 0, 0, more)), F.pad(value, (0, 0, 0, more)), F.pad(mask, (0, more), value=masked)


def _with_dropout(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, p: float) -> Tensor:
    """As PyTorch's attention computes it in training on the CPU, where it has no fused one; ours draws faster.

    Scores and softmax are float32, whatever the precision. Returns (B, L, H, d).
    """
    with torch.autocast("cpu", enabled=False):
        scores = (_wide(query) * scale) @ _wide(key).transpose(-1, -2)  # (B, H, L, L)
        if mask is not None:
            scores = scores + (_added(mask) if mask.dtype == torch.bool else mask)
        chances = drop_out(scores.softmax(-1), p)
        return (chances.to(value.dtype) @ value).transpose(1, 2).contiguous()


def _added(mask: Tensor) -> Tensor:
    """What to add to scores, (B, 1, L, L): made once for all heads, and without a gradient."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


def _wide(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _check() -> None:
    """What PyTorch's own gives, with keys filled up, and with a dropout of nothing."""

    def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, mask, scale=0.4).transpose(1, 2)

    query, key, value = (torch.randn(2, 3, 13, 4) for _ in range(3))
    mask = (torch.arange(13) < torch.tensor([[13], [9]]))[:, None, None].expand(2, 1, 13, 13)
    wanted = fused(query, key, value, mask)
    torch.testing.assert_close(_in_float32(query, *_filled_up(key, value, mask), fused), wanted)
    torch.testing.assert_close(_with_dropout(query, key, value, mask, 0.4, 0.0), wanted)

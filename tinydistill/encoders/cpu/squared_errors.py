"""Sums of squared differences in few passes over memory: value and gradient are written out.

Step by step they would make and mask an array the size of the states or scores a dozen times. Places that do not count
become zeros by their bits, whatever stands there, in one pass that the CPU does many values at a time in.
"""

from typing import Any

import torch
from torch import Tensor


def of_states(student: Tensor, teacher: Tensor, counts: Tensor) -> Tensor:
    """Σ (S − T)² over the tokens that count, (B, L), of states (B, L, D): (B,), in float32."""
    return _OfStates.apply(student, teacher.detach(), counts)


class _OfStates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, counts: Tensor) -> Tensor:
        difference = _kept(student.float() - teacher.float(), counts[:, :, None])
        ctx.save_for_backward(difference)
        ctx.dtype = student.dtype
        return _squares(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (difference,) = ctx.saved_tensors
        return (difference * (2 * gradients[0])[:, None, None]).to(ctx.dtype), None, None


def of_scores(student: tuple[Tensor, Tensor, float], teacher: tuple[Tensor, Tensor, float], counts: Tensor) -> Tensor:
    """Σ (sₛ QₛKₛᵀ − sₜ QₜKₜᵀ)² over heads and the pairs that count, (B, L, L): (B,), in float32.

    Each model's queries and keys (B, H, L, d) and scale; no gradient goes to the teacher's.
    """
    query, key, scale = student
    teacher_query, teacher_key, teacher_scale = teacher
    return _OfScores.apply(query, key, teacher_query.detach(), teacher_key.detach(), scale, teacher_scale, counts)


class _OfScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        teacher_query: Tensor,
        teacher_key: Tensor,
        scale: float,
        teacher_scale: float,
        counts: Tensor,
    ) -> Tensor:
        queries, keys, others, other_keys = (_by_head(x) for x in (query, key, teacher_query, teacher_key))
        scores = others @ other_keys.transpose(1, 2)  # (B·H, L, L)
        scores = torch.baddbmm(scores, queries, keys.transpose(1, 2), beta=-teacher_scale, alpha=scale)
        difference = _kept(scores.view(*query.shape[:2], *scores.shape[1:]), counts[:, None])
        ctx.save_for_backward(difference, queries, keys)
        ctx.scale, ctx.dtypes = scale, (query.dtype, key.dtype)
        return _squares(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        difference, queries, keys = ctx.saved_tensors
        by_score = (difference * (2 * ctx.scale * gradients[0])[:, None, None, None]).flatten(0, 1)
        with torch.autocast(keys.device.type, enabled=False):
            found = (by_score @ keys, by_score.transpose(1, 2) @ queries)
        own = (x.view(*difference.shape[:3], -1).to(dtype) for x, dtype in zip(found, ctx.dtypes, strict=True))
        return *own, None, None, None, None, None


def _by_head(states: Tensor) -> Tensor:
    """(B, H, L, d) -> (B·H, L, d) in float32."""
    return states.float().flatten(0, 1)


def _kept(values: Tensor, counts: Tensor) -> Tensor:
    """Values in float32, in place: those that do not count are 0."""
    values.view(torch.int32).bitwise_and_(-counts.to(torch.int32))  # -1 is all bits
    return values


def _squares(values: Tensor) -> Tensor:
    """(B, N, ...) -> the sum of squares of each example, (B,)."""
    # In two steps: a norm adds up one by one, and of millions it would lose digits.
    return torch.linalg.vector_norm(values.flatten(2), dim=2).square().sum(1)

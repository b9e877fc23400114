"""Sums of squared differences in few passes over memory: value and gradient are written out.

Step by step, as the plain twins do it, they would make and mask an array the size of the states or scores a dozen
times. Padding becomes zeros by its bits, whatever its values are, in one pass that the CPU does many values at a time.
"""

from typing import Any

import torch
from torch import Tensor

from tinydistill.encoders.cpu.choice import uses

_NAME = "the squared errors with a written-out gradient"
Scores = tuple[Tensor, Tensor, float]  # queries and keys (B, H, L, d), and their product's scale


def masked_squared_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Σ (S − T)² over the tokens that the mask (B, L) selects, of states (B, L, D): (B,), in float32 (float64 of such).

    No gradient goes to the teacher's.
    """
    if uses(_NAME, _check, student.device.type):
        return _SquaredError.apply(student, teacher.detach(), mask)
    return _plain_squared_error(student, teacher.detach(), mask)


def masked_score_error(student: Scores, teacher: Scores, mask: Tensor) -> Tensor:
    """Σ (sₛ QₛKₛᵀ − sₜ QₜKₜᵀ)² over heads and the pairs that the mask (B, L, L) selects: (B,), in float32.

    No gradient goes to the teacher's.
    """
    query, key, scale = student
    teacher_query, teacher_key, teacher_scale = teacher
    given = (query, key, teacher_query.detach(), teacher_key.detach(), scale, teacher_scale, mask)
    return _ScoreError.apply(*given) if uses(_NAME, _check, query.device.type) else _plain_score_error(*given)


def _plain_squared_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    return (_wide(student) - _wide(teacher)).masked_fill(~mask[:, :, None], 0.0).square().sum((1, 2))


def _plain_score_error(
    query: Tensor,
    key: Tensor,
    teacher_query: Tensor,
    teacher_key: Tensor,
    scale: float,
    teacher_scale: float,
    mask: Tensor,
) -> Tensor:
    own = _wide(query) @ _wide(key).transpose(-1, -2) * scale  # (B, H, L, L)
    others = _wide(teacher_query) @ _wide(teacher_key).transpose(-1, -2) * teacher_scale
    return (own - others).masked_fill(~mask[:, None], 0.0).square().sum((1, 2, 3))


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        difference = _zero_masked(_wide(student) - _wide(teacher), mask[:, :, None])
        ctx.save_for_backward(difference)
        ctx.dtype = student.dtype
        return _sum_of_squares(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (difference,) = ctx.saved_tensors
        return (difference * (2 * gradients[0])[:, None, None]).to(ctx.dtype), None, None


class _ScoreError(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        teacher_query: Tensor,
        teacher_key: Tensor,
        scale: float,
        teacher_scale: float,
        mask: Tensor,
    ) -> Tensor:
        queries, keys, others, other_keys = (_by_head(x) for x in (query, key, teacher_query, teacher_key))
        scores = others @ other_keys.transpose(1, 2)  # (B·H, L, L)
        scores = torch.baddbmm(scores, queries, keys.transpose(1, 2), beta=-teacher_scale, alpha=scale)
        difference = _zero_masked(scores.view(*query.shape[:2], *scores.shape[1:]), mask[:, None])
        ctx.save_for_backward(difference, queries, keys)
        ctx.scale, ctx.dtypes = scale, (query.dtype, key.dtype)
        return _sum_of_squares(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        difference, queries, keys = ctx.saved_tensors
        by_score = (difference * (2 * ctx.scale * gradients[0])[:, None, None, None]).flatten(0, 1)
        with torch.autocast(keys.device.type, enabled=False):
            found = (by_score @ keys, by_score.transpose(1, 2) @ queries)
        own = (x.view(*difference.shape[:3], -1).to(dtype) for x, dtype in zip(found, ctx.dtypes, strict=True))
        return *own, None, None, None, None, None


def _by_head(states: Tensor) -> Tensor:
    """(B, H, L, d) -> (B·H, L, d) in float32, or float64 as they are."""
    return _wide(states).flatten(0, 1)


def _wide(states: Tensor) -> Tensor:
    return states if states.dtype == torch.float64 else states.float()


def _zero_masked(values: Tensor, mask: Tensor) -> Tensor:
    """Values in float32 or float64, in place: those that the mask leaves out become 0."""
    integer = torch.int64 if values.dtype == torch.float64 else torch.int32
    values.view(integer).bitwise_and_(-mask.to(integer))  # -1 is all bits
    return values


def _sum_of_squares(values: Tensor) -> Tensor:
    """(B, N, ...) -> the sum of squares of each example, (B,)."""
    # In two steps: a norm adds up one by one, and of millions it would lose digits.
    return torch.linalg.vector_norm(values.flatten(2), dim=2).square().sum(1)


def _check(device: str) -> None:
    """Values and gradients of both are those of the plain twins."""
    mask = (torch.arange(4) < torch.tensor([[4], [3]])).to(device)
    states = [torch.randn(2, 4, 5).to(device) for _ in range(2)]
    parts = [torch.randn(2, 3, 4, 5).to(device) for _ in range(4)]
    for ours, plain, trained, rest in (
        (_SquaredError.apply, _plain_squared_error, states[:1], (states[1], mask)),
        (_ScoreError.apply, _plain_score_error, parts[:2], (*parts[2:], 0.5, 0.7, mask[:, :, None] & mask[:, None])),
    ):
        found, wanted = (_value_and_gradients(function, trained, rest) for function in (ours, plain))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def _value_and_gradients(function: Any, trained: list[Tensor], rest: tuple[Any, ...]) -> list[Tensor]:
    leaves = [each.detach().requires_grad_() for each in trained]
    value = function(*leaves, *rest)
    return [value.detach(), *torch.autograd.grad(value.sum(), leaves)]

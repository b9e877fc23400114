"""Inputs of the losses, and attention in float64 as plainly as it can be written."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tinydistill.encoders.attention import QueriesAndKeys

# Lengths of the examples of a batch; L is the longest, or longer still.
BATCHES = [([5, 3, 1], 5), ([4], 4), ([1], 1), ([1], 3), ([2, 7], 9)]
FORMS = {"scores": float("inf"), "gram": 0.0}  # of losses.attention._SCORES_PER_WIDTH


def mask_of(lengths: list[int], width: int, left: bool = False) -> Tensor:
    """With padding on the right, or on the left."""
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return mask.flip(1) if left else mask


def tokens_of(mask: Tensor) -> list[list[int]]:
    """The positions of each example that are no padding."""
    return [[i for i, there in enumerate(row) if there] for row in mask.tolist()]


def factors(batch: int, heads: int, width: int, size: int) -> QueriesAndKeys:
    return QueriesAndKeys(torch.randn(batch, heads, width, size), torch.randn(batch, heads, width, size), size**-0.5)


def scores_of(factors: QueriesAndKeys) -> np.ndarray:
    return (factors.query.detach().double() @ factors.key.detach().double().transpose(-1, -2)).numpy() * factors.scale


def softmax(values: list[float]) -> list[float]:
    exponentials = [math.exp(x - max(values)) for x in values]
    return [x / sum(exponentials) for x in exponentials]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def cross_entropy(p: list[float], q: list[float]) -> float:
    return -sum(a * math.log(b) for a, b in zip(p, q, strict=True))


def over_queries(
    compare: Callable[[list[float], list[float]], float], student: np.ndarray, teacher: np.ndarray, mask: Tensor
) -> list[float]:
    """compare(teacher's probabilities, student's), of scores (B, H, L, L): a mean over heads × queries of tokens."""
    results = []
    for b, tokens in enumerate(tokens_of(mask)):
        values = []
        for h in range(student.shape[1]):
            for i in tokens:
                own, others = (softmax([scores[b, h, i, j] for j in tokens]) for scores in (student, teacher))
                values.append(compare(others, own))
        results.append(sum(values) / len(values))
    return results


def value_and_gradients(
    loss: Callable[..., Tensor], students: list[Tensor], rest: tuple
) -> tuple[Tensor, tuple[Tensor, ...]]:
    leaves = [x.detach().clone().requires_grad_() for x in students]
    value = loss(*leaves, *rest)
    return value.detach(), torch.autograd.grad(value.sum(), leaves)

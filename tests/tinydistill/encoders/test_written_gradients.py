"""Gradients that are written out, by finite differences in float64."""

import pytest
import torch
from torch import Tensor

from tinydistill.encoders.cpu.dropout import Dropout
from tinydistill.encoders.cpu.squared_errors import masked_score_error, masked_squared_error

LENGTHS = [(3, 1), (1,), (5, 5, 2), (4, 0)]  # pieces of each text: one piece, one text, none


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def mask_of(lengths: tuple[int, ...]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [1, 7])
def test_squared_error(lengths: tuple[int, ...], width: int) -> None:
    mask = mask_of(lengths)
    student, teacher = random(*mask.shape, width).requires_grad_(), random(*mask.shape, width)
    assert torch.autograd.gradcheck(lambda own: masked_squared_error(own, teacher, mask), student)
    found = masked_squared_error(student, teacher, mask)
    assert type(found.grad_fn).__name__ == "_SquaredErrorBackward"
    plain = [(own[each] - other[each]).square().sum() for own, other, each in zip(student, teacher, mask, strict=True)]
    torch.testing.assert_close(found, torch.stack(plain))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("heads", "width", "teacher_width"), [(1, 1, 1), (3, 4, 6)])
def test_score_error(lengths: tuple[int, ...], heads: int, width: int, teacher_width: int) -> None:
    mask = mask_of(lengths)
    pairs = mask[:, :, None] & mask[:, None]
    batch, longest = mask.shape
    query, key = (random(batch, heads, longest, width).requires_grad_() for _ in range(2))
    teacher = (random(batch, heads, longest, teacher_width), random(batch, heads, longest, teacher_width), 0.7)
    assert torch.autograd.gradcheck(lambda *own: masked_score_error((*own, 0.5), teacher, pairs), (query, key))
    found = masked_score_error((query, key, 0.5), teacher, pairs)
    assert type(found.grad_fn).__name__ == "_ScoreErrorBackward"


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_dropout(p: float) -> None:
    layer = Dropout(p)

    def drop(states: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same elements each time
        return layer(states)

    states = random(3, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(drop, states)
    assert type(drop(states).grad_fn).__name__ == "_DropoutBackward"

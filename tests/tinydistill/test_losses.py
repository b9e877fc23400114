"""Each loss against its formula, written out in float64 loops."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tinydistill import losses

# Lengths of the examples of a batch; L is the longest, or longer still.
BATCHES = [([5, 3, 1], 5), ([4], 4), ([1], 1), ([1], 3), ([2, 7], 9)]


def mask_of(lengths: list[int], width: int) -> torch.Tensor:
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_mse(lengths: list[int], width: int, heads: int) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), heads, width, width).unbind()
    got = losses.attention_mse(student, teacher, mask_of(lengths, width))
    s, t = student.double().numpy(), teacher.double().numpy()
    for b, n in enumerate(lengths):
        total = 0.0
        for h in range(heads):
            for i in range(n):
                for j in range(n):
                    total += (s[b, h, i, j] - t[b, h, i, j]) ** 2
        assert got[b].item() == pytest.approx(total / (heads * n * n), rel=1e-5)


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_hidden_mse(lengths: list[int], width: int) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    got = losses.hidden_mse(student, teacher, mask_of(lengths, width))
    s, t = student.double().numpy(), teacher.double().numpy()
    for b, n in enumerate(lengths):
        total = sum((s[b, i, d] - t[b, i, d]) ** 2 for i in range(n) for d in range(7))
        assert got[b].item() == pytest.approx(total / (n * 7), rel=1e-5)


@pytest.mark.parametrize("loss", [losses.attention_mse, losses.hidden_mse])
def test_padding_reaches_neither_value_nor_gradient(loss: Callable) -> None:
    torch.manual_seed(0)
    mask = mask_of([2, 4], 6)
    shape = (2, 3, 6, 6) if loss is losses.attention_mse else (2, 6, 5)
    teacher = torch.randn(shape)
    student = torch.randn(shape)
    outside = (
        ~(mask.bool()[:, None, :, None] & mask.bool()[:, None, None, :]).expand(shape)
        if loss is losses.attention_mse
        else ~mask.bool()[:, :, None].expand(shape)
    )
    spoilt = student.clone()
    spoilt[outside] = float("nan")  # what a padded position holds is nobody's business
    spoilt_teacher = teacher.clone()
    spoilt_teacher[outside] = float("inf")
    spoilt.requires_grad_()
    value = loss(spoilt, spoilt_teacher, mask)
    assert torch.equal(value, loss(student, teacher, mask))
    value.sum().backward()
    assert torch.equal(spoilt.grad[outside], torch.zeros(int(outside.sum())))
    assert spoilt.grad[~outside].abs().min() > 0


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (3, 5)])
def test_soft_cross_entropy(temperature: float, batch: int, classes: int) -> None:
    torch.manual_seed(0)
    student, teacher = (3 * torch.randn(2, batch, classes)).unbind()
    got = losses.soft_cross_entropy(student, teacher, temperature)
    for b in range(batch):
        s = [x / temperature for x in student[b].double().tolist()]
        t = [x / temperature for x in teacher[b].double().tolist()]
        s_norm, t_norm = (math.log(sum(math.exp(x) for x in z)) for z in (s, t))
        expected = -sum(math.exp(t[c] - t_norm) * (s[c] - s_norm) for c in range(classes))
        assert got[b].item() == pytest.approx(expected, rel=1e-5)


def test_soft_cross_entropy_survives_large_logits() -> None:
    student = torch.tensor([[1000.0, -1000.0]], dtype=torch.bfloat16, requires_grad=True)
    value = losses.soft_cross_entropy(student, torch.tensor([[-1000.0, 1000.0]]))
    value.sum().backward()
    assert value.item() == pytest.approx(2000.0, rel=1e-2)
    assert student.grad.isfinite().all()


def test_logits_mse() -> None:
    student, teacher = torch.tensor([[1.5], [-2.0]]), torch.tensor([[1.0], [1.0]])
    assert losses.logits_mse(student, teacher).tolist() == [0.25, 9.0]


def test_gold_losses() -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0]])
    expected = math.log(sum(math.exp(x) for x in (2.0, 0.5, -1.0))) - 0.5
    assert losses.gold_cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)
    assert losses.gold_mse(torch.tensor([[2.5]]), torch.tensor([4.0])).tolist() == [2.25]


def test_half_precision_inputs_are_compared_in_float32() -> None:
    """bf16 has 8 bits: squares of differences summed in it would be off by percents."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 4, 32, 32).to(torch.bfloat16).unbind()
    got = losses.attention_mse(student, teacher, torch.ones(1, 32))
    expected = np.square((student.double() - teacher.double()).numpy()).mean()
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(expected, rel=1e-6)

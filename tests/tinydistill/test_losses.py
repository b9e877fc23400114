"""Each loss against its formula, written out in float64 loops."""

import math

import numpy as np
import pytest
import torch

from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.encoders.cpu.squared_errors import masked_score_error, masked_squared_error

# Lengths of the examples of a batch; L is the longest, or longer still.
BATCHES = [([5, 3, 1], 5), ([4], 4), ([1], 1), ([1], 3), ([2, 7], 9)]


def mask_of(lengths: list[int], width: int) -> torch.Tensor:
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


def factors(batch: int, heads: int, width: int, size: int) -> QueriesAndKeys:
    return QueriesAndKeys(torch.randn(batch, heads, width, size), torch.randn(batch, heads, width, size), size**-0.5)


def scores_of(factors: QueriesAndKeys) -> np.ndarray:
    return (factors.query.detach().double() @ factors.key.detach().double().transpose(-1, -2)).numpy() * factors.scale


FORMS = {"scores": float("inf"), "gram": 0.0}  # of _SCORES_PER_WIDTH


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize(("own_size", "teachers_size"), [(4, 4), (2, 5)])
def test_attention_mse(
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    lengths: list[int],
    width: int,
    heads: int,
    own_size: int,
    teachers_size: int,
) -> None:
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    student, teacher = factors(len(lengths), heads, width, own_size), factors(len(lengths), heads, width, teachers_size)
    got = losses.attention_mse(student, teacher, mask_of(lengths, width))
    s, t = scores_of(student), scores_of(teacher)
    for b, n in enumerate(lengths):
        total = 0.0
        for h in range(heads):
            for i in range(n):
                for j in range(n):
                    total += (s[b, h, i, j] - t[b, h, i, j]) ** 2
        assert got[b].item() == pytest.approx(total / (heads * n * n), rel=1e-5)


def test_sums_of_many_squares_lose_no_digits() -> None:
    """A million scores or values of an example: added up one by one, they would be off by 1e-5."""
    torch.manual_seed(0)
    student, teacher = factors(2, 12, 300, 4), factors(2, 12, 300, 6)
    counts = torch.ones(2, 300, 300, dtype=torch.bool)
    expected = np.square(scores_of(student) - scores_of(teacher)).sum((1, 2, 3))
    assert masked_score_error(student[:3], teacher[:3], counts).tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    own, others = torch.randn(2, 512, 2048), torch.randn(2, 512, 2048)
    expected = np.square(own.double().numpy() - others.double().numpy()).sum((1, 2))
    assert masked_squared_error(own, others, counts[:, 0].new_ones(2, 512)).tolist() == pytest.approx(
        expected.tolist(), rel=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("nearness", [1.0, 0.1])
def test_the_gradient_of_attention_mse(monkeypatch: pytest.MonkeyPatch, form: str, nearness: float) -> None:
    """Against float64, also where the student is near its teacher and large numbers cancel."""
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of([40, 23], 40)
    teacher = factors(2, 3, 40, 8)
    noise = factors(2, 3, 40, 8)
    own = [(t + nearness * n).requires_grad_() for t, n in zip(teacher[:2], noise[:2], strict=True)]
    value = losses.attention_mse(QueriesAndKeys(*own, teacher.scale), teacher, mask)
    value.sum().backward()

    exact = [x.detach().double().requires_grad_() for x in own]
    difference = (exact[0] @ exact[1].transpose(-1, -2)) * teacher.scale - torch.from_numpy(scores_of(teacher))
    pairs = (mask[:, :, None] * mask[:, None, :])[:, None].double()
    expected = (difference.square() * pairs).sum((1, 2, 3)) / (3 * mask.sum(1).square())
    expected.sum().backward()
    assert torch.allclose(value.double(), expected, rtol=1e-4)
    for ours, theirs in zip(own, exact, strict=True):
        error = (ours.grad.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 1e-4


def test_the_mean_over_heads_of_scores() -> None:
    torch.manual_seed(0)
    made_of = factors(2, 3, 5, 4)
    mean = made_of.mean_over_heads()
    assert mean.query.shape == (2, 1, 5, 12)
    np.testing.assert_allclose(scores_of(mean)[:, 0], scores_of(made_of).mean(1), rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_padding_reaches_neither_value_nor_gradient_of_attention_mse(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of([2, 4], 6)
    outside = (mask == 0)[:, None, :, None].expand(2, 3, 6, 5)
    student, teacher = factors(2, 3, 6, 5), factors(2, 3, 6, 5)
    spoilt = [x.masked_fill(outside, 1e6).requires_grad_() for x in student[:2]]
    spoilt_teacher = [x.masked_fill(outside, -1e7) for x in teacher[:2]]
    value = losses.attention_mse(
        QueriesAndKeys(*spoilt, student.scale), QueriesAndKeys(*spoilt_teacher, teacher.scale), mask
    )
    assert torch.equal(value, losses.attention_mse(student, teacher, mask))
    value.sum().backward()
    for x in spoilt:
        assert torch.equal(x.grad[outside], torch.zeros(int(outside.sum())))
        assert x.grad[~outside].abs().min() > 0


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_hidden_mse(lengths: list[int], width: int) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    got = losses.hidden_mse(student, teacher, mask_of(lengths, width))
    s, t = student.double().numpy(), teacher.double().numpy()
    for b, n in enumerate(lengths):
        total = sum((s[b, i, d] - t[b, i, d]) ** 2 for i in range(n) for d in range(7))
        assert got[b].item() == pytest.approx(total / (n * 7), rel=1e-5)


def test_padding_reaches_neither_value_nor_gradient() -> None:
    torch.manual_seed(0)
    mask = mask_of([2, 4], 6)
    shape = (2, 6, 5)
    teacher = torch.randn(shape)
    student = torch.randn(shape)
    outside = ~mask.bool()[:, :, None].expand(shape)
    spoilt = student.clone()
    spoilt[outside] = float("nan")  # what a padded position holds is nobody's business
    spoilt_teacher = teacher.clone()
    spoilt_teacher[outside] = float("inf")
    spoilt.requires_grad_()
    value = losses.hidden_mse(spoilt, spoilt_teacher, mask)
    assert torch.equal(value, losses.hidden_mse(student, teacher, mask))
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
    student, teacher = (
        QueriesAndKeys(made_of.query.bfloat16(), made_of.key.bfloat16(), made_of.scale)
        for made_of in (factors(1, 4, 32, 8), factors(1, 4, 32, 8))
    )
    with torch.autocast("cpu", torch.bfloat16):
        got = losses.attention_mse(student, teacher, torch.ones(1, 32))
    expected = np.square(scores_of(student) - scores_of(teacher)).mean()
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_the_losses_as_the_authors_compute_them(
    monkeypatch: pytest.MonkeyPatch, form: str, lengths: list[int], width: int
) -> None:
    """Means over whole tensors at the padded length, as torch.nn.MSELoss takes them."""
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of(lengths, width)
    student, teacher = factors(len(lengths), 3, width, 4), factors(len(lengths), 3, width, 4)
    got = losses.attention_mse_in_original_code(student, teacher, mask)
    key_mask = np.where(mask[:, None, None, :].numpy() == 0, -10_000.0, 0.0)  # as BERT adds it
    zeroed = [np.where(scores_of(of) + key_mask <= -100, 0.0, scores_of(of)) for of in (student, teacher)]
    np.testing.assert_allclose(got, np.square(zeroed[0] - zeroed[1]).mean((1, 2, 3)), rtol=1e-5)

    ours, theirs = torch.randn(2, len(lengths), width, 7).unbind()
    got = losses.hidden_mse_in_original_code(ours, theirs, mask)
    assert got.mean().item() == pytest.approx(torch.nn.MSELoss()(ours, theirs).item(), rel=1e-5)
    logits, targets = torch.randn(2, len(lengths), 5).unbind()
    got = losses.soft_cross_entropy_in_original_code(logits, targets, 2.0)
    expected = (-(targets / 2).softmax(-1) * (logits / 2).log_softmax(-1)).mean()
    assert got.mean().item() == pytest.approx(expected.item(), rel=1e-5)

"""Losses of attention against their formulas, written out in float64 loops."""

import numpy as np
import pytest
import torch

from tests.tinydistill.loss_inputs import (
    BATCHES,
    FORMS,
    cross_entropy,
    factors,
    kl,
    mask_of,
    over_queries,
    scores_of,
    tokens_of,
    value_and_gradients,
)
from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.encoders.cpu.squared_errors import masked_score_error

PROBABILITIES = {"attention_kl": kl, "attention_cross_entropy": cross_entropy}
ALL = [name for name, feature in losses.FEATURES.items() if feature == "attention" and "original" not in name]


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


def test_sums_of_many_squared_scores_lose_no_digits() -> None:
    """A million scores of an example: added up one by one, they would be off by 1e-5."""
    torch.manual_seed(0)
    student, teacher = factors(2, 12, 300, 4), factors(2, 12, 300, 6)
    counts = torch.ones(2, 300, 300, dtype=torch.bool)
    expected = np.square(scores_of(student) - scores_of(teacher)).sum((1, 2, 3))
    assert masked_score_error(student[:3], teacher[:3], counts).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


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
def test_attention_mse_in_original_code(
    monkeypatch: pytest.MonkeyPatch, form: str, lengths: list[int], width: int
) -> None:
    """A mean over whole tensors at the padded length, as torch.nn.MSELoss takes it."""
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of(lengths, width)
    student, teacher = factors(len(lengths), 3, width, 4), factors(len(lengths), 3, width, 4)
    got = losses.attention_mse_in_original_code(student, teacher, mask)
    key_mask = np.where(mask[:, None, None, :].numpy() == 0, -10_000.0, 0.0)  # as BERT adds it
    zeroed = [np.where(scores_of(of) + key_mask <= -100, 0.0, scores_of(of)) for of in (student, teacher)]
    np.testing.assert_allclose(got, np.square(zeroed[0] - zeroed[1]).mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize(("heads", "teachers_heads"), [(1, 1), (2, 3), (4, 1)])
def test_attention_mse_sum(
    monkeypatch: pytest.MonkeyPatch, form: str, lengths: list[int], width: int, heads: int, teachers_heads: int
) -> None:
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    student, teacher = factors(len(lengths), heads, width, 4), factors(len(lengths), teachers_heads, width, 5)
    got = losses.attention_mse_sum(student, teacher, mask_of(lengths, width))
    s, t = scores_of(student).sum(1), scores_of(teacher).sum(1)
    for b, n in enumerate(lengths):
        total = sum((s[b, i, j] - t[b, i, j]) ** 2 for i in range(n) for j in range(n))
        assert got[b].item() == pytest.approx(total / (n * n), rel=1e-5)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("name", PROBABILITIES)
def test_attention_probabilities(name: str, heads: int, lengths: list[int], width: int, left: bool) -> None:
    torch.manual_seed(0)
    student, teacher = factors(len(lengths), heads, width, 4), factors(len(lengths), heads, width, 5)
    mask = mask_of(lengths, width, left)
    got = losses.LOSSES[name].function(student, teacher, mask)
    expected = over_queries(PROBABILITIES[name], scores_of(student), scores_of(teacher), mask)
    assert got.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize(("heads", "teachers_heads"), [(3, 3), (2, 3), (4, 1)])
@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_of_the_mean_over_heads(
    name: str, heads: int, teachers_heads: int, lengths: list[int], width: int
) -> None:
    torch.manual_seed(0)
    student, teacher = factors(len(lengths), heads, width, 4), factors(len(lengths), teachers_heads, width, 5)
    mask = mask_of(lengths, width)
    got = losses.LOSSES[f"{name}_mean"].function(student, teacher, mask)
    s, t = (scores_of(of).mean(1, keepdims=True) for of in (student, teacher))
    assert got.tolist() == pytest.approx(over_queries(PROBABILITIES[name], s, t, mask), rel=1e-5, abs=1e-7)


def test_the_gradients_of_divergence_and_cross_entropy_are_the_same() -> None:
    torch.manual_seed(0)
    student, teacher = factors(2, 3, 5, 4), factors(2, 3, 5, 6)
    mask = mask_of([5, 2], 5)
    (_, ours), (_, others) = (
        value_and_gradients(lambda q, k, loss=loss: loss(QueriesAndKeys(q, k, 0.5), teacher, mask), student[:2], ())
        for loss in (losses.attention_kl, losses.attention_cross_entropy)
    )
    torch.testing.assert_close(ours, others)


@pytest.mark.parametrize("name", ALL)
def test_gradients_in_float64(name: str) -> None:
    """With padding, and with an example without tokens, which gives 0."""
    torch.manual_seed(0)
    query, key, teachers_query, teachers_key = torch.randn(4, 3, 2, 4, 3, dtype=torch.float64).unbind()
    teacher, mask = QueriesAndKeys(teachers_query, teachers_key, 0.7), mask_of([4, 2, 0], 4)
    loss = losses.LOSSES[name].function
    value = loss(QueriesAndKeys(query, key, 0.5), teacher, mask)
    assert value.dtype == torch.float64
    assert value[2] == 0
    inputs = (query.requires_grad_(), key.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, k: loss(QueriesAndKeys(q, k, 0.5), teacher, mask), inputs)


# Of scores' squares the gradient is written out by hand, and multiplies what padding holds by 0.
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "bad"), [(name, bad) for name in ALL for bad in (1e6, float("nan")) if "mse" not in name or bad == 1e6]
)
def test_padding_reaches_neither_value_nor_gradient(
    monkeypatch: pytest.MonkeyPatch, name: str, bad: float, form: str
) -> None:
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of([2, 4], 6, left=True)
    outside = (mask == 0)[:, None, :, None].expand(2, 3, 6, 5)
    student, teacher = factors(2, 3, 6, 5), factors(2, 3, 6, 5)
    loss = losses.LOSSES[name].function
    spoilt = [[x.masked_fill(outside, bad) for x in of[:2]] for of in (student, teacher)]
    (clean, gradients), (got, spoilt_gradients) = (
        value_and_gradients(
            lambda q, k, t=t: loss(QueriesAndKeys(q, k, 0.5), QueriesAndKeys(*t, 0.5), mask), list(own), ()
        )
        for own, t in ((student[:2], teacher[:2]), spoilt)
    )
    assert torch.equal(got, clean)
    for one, other in zip(gradients, spoilt_gradients, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(other[outside], torch.zeros(int(outside.sum())))
        assert other[~outside].abs().min() > 0


@pytest.mark.parametrize("name", ALL)
def test_no_tokens_and_large_scores(name: str) -> None:
    """Scores of some 1e8: softmax is all or nothing."""
    torch.manual_seed(0)
    student, teacher = (QueriesAndKeys(1e4 * x.query, 1e4 * x.key, 1.0) for x in (factors(2, 2, 5, 4) for _ in "ST"))
    mask = mask_of([0, 5], 5)
    value, gradients = value_and_gradients(
        lambda q, k: losses.LOSSES[name].function(QueriesAndKeys(q, k, 1.0), teacher, mask), list(student[:2]), ()
    )
    assert value[0] == 0
    assert value[1] > 0
    assert value.isfinite().all()
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert torch.equal(gradient[0], torch.zeros(2, 5, 4))


@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_compared_in_float32(name: str) -> None:
    torch.manual_seed(0)
    student, teacher = (QueriesAndKeys(*(x.bfloat16() for x in factors(2, 3, 8, 16)[:2]), 0.25) for _ in "ST")
    exact = (QueriesAndKeys(of.query.double(), of.key.double(), 0.25) for of in (student, teacher))
    mask = mask_of([8, 3], 8)
    with torch.autocast("cpu", torch.bfloat16):
        got = losses.LOSSES[name].function(student, teacher, mask)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), losses.LOSSES[name].function(*exact, mask), rtol=1e-5, atol=1e-6)


def test_tokens_of_reads_both_sides() -> None:
    """The positions that the loops of these files go over."""
    assert tokens_of(mask_of([2, 3], 4)) == [[0, 1], [0, 1, 2]]
    assert tokens_of(mask_of([2, 3], 4, left=True)) == [[2, 3], [1, 2, 3]]

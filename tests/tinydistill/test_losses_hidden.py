"""Losses of hidden states against their formulas, written out in float64 loops."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tinydistill.loss_inputs import BATCHES, FORMS, mask_of, tokens_of, value_and_gradients
from tinydistill import losses
from tinydistill.encoders.cpu.squared_errors import masked_squared_error

ONE = {
    "hidden_mse": losses.hidden_mse,
    "hidden_cosine": losses.hidden_cosine,
    "cls_direction": losses.cls_direction,
    "feature_map_mse": losses.feature_map_mse,
    "feature_mean_mse": losses.feature_mean_mse,
    "feature_variance_difference": losses.feature_variance_difference,
}
TWO = {
    "gram_mse": lambda x, y, a, b, mask: losses.gram_mse((x, y), (a, b), mask),
    "neuron_selectivity": lambda x, y, a, b, mask: losses.neuron_selectivity((x, y), (a, b), mask),
}
ALL = {name: (1, loss) for name, loss in ONE.items()} | {name: (2, loss) for name, loss in TWO.items()}


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_hidden_mse(lengths: list[int], width: int) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    got = losses.hidden_mse(student, teacher, mask_of(lengths, width))
    s, t = student.double().numpy(), teacher.double().numpy()
    for b, n in enumerate(lengths):
        total = sum((s[b, i, d] - t[b, i, d]) ** 2 for i in range(n) for d in range(7))
        assert got[b].item() == pytest.approx(total / (n * 7), rel=1e-5)


@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_hidden_mse_in_original_code(lengths: list[int], width: int) -> None:
    """A mean over whole tensors at the padded length, as torch.nn.MSELoss takes it."""
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, len(lengths), width, 7).unbind()
    got = losses.hidden_mse_in_original_code(ours, theirs, mask_of(lengths, width))
    assert got.mean().item() == pytest.approx(torch.nn.MSELoss()(ours, theirs).item(), rel=1e-5)


def test_sums_of_many_squares_lose_no_digits() -> None:
    """A million values of an example: added up one by one, they would be off by 1e-5."""
    torch.manual_seed(0)
    own, others = torch.randn(2, 512, 2048), torch.randn(2, 512, 2048)
    expected = np.square(own.double().numpy() - others.double().numpy()).sum((1, 2))
    assert masked_squared_error(own, others, torch.ones(2, 512, dtype=torch.bool)).tolist() == pytest.approx(
        expected.tolist(), rel=1e-6
    )


def test_padding_reaches_neither_value_nor_gradient_of_hidden_mse() -> None:
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


def test_the_gradient_of_hidden_mse() -> None:
    """Written out by hand, in float32; against float64."""
    torch.manual_seed(0)
    mask = mask_of([5, 2], 5)
    student, teacher = torch.randn(2, 2, 5, 7).unbind()
    value, (gradient,) = value_and_gradients(losses.hidden_mse, [student], (teacher, mask))

    def plain(s: Tensor) -> Tensor:
        return ((s - teacher.double()).square() * mask[:, :, None]).sum((1, 2)) / (7 * mask.sum(1))

    expected, (wanted,) = value_and_gradients(plain, [student.double()], ())
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-6, atol=1e-7)


def cosine(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_hidden_cosine(lengths: list[int], width: int, left: bool) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    mask = mask_of(lengths, width, left)
    got = losses.hidden_cosine(student, teacher, mask)
    s, t = student.double().tolist(), teacher.double().tolist()
    for b, tokens in enumerate(tokens_of(mask)):
        expected = sum(1 - cosine(s[b][i], t[b][i]) for i in tokens) / len(tokens)
        assert got[b].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_cls_direction(lengths: list[int], width: int, left: bool) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    mask = mask_of(lengths, width, left)
    got = losses.cls_direction(student, teacher, mask)
    for b, n in enumerate(lengths):
        first = width - n if left else 0
        s, t = (x[b, first].double().tolist() for x in (student, teacher))
        s_norm, t_norm = (math.sqrt(sum(x * x for x in z)) for z in (s, t))
        expected = sum((x / s_norm - y / t_norm) ** 2 for x, y in zip(s, t, strict=True))
        assert got[b].item() == pytest.approx(expected, rel=1e-5)


def test_the_distance_of_directions_is_one_less_the_cosine_twice() -> None:
    """And neither asks for lengths: the states of one model may be thousands of times those of another."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 1, 7, dtype=torch.float64).unbind()
    mask = torch.ones(4, 1)
    direction = losses.cls_direction(1e7 * student, 1e-7 * teacher, mask)
    torch.testing.assert_close(direction, 2 * losses.hidden_cosine(student, teacher, mask))


def moments(x: list[float]) -> tuple[float, float]:
    """Mean and variance."""
    mean = sum(x) / len(x)
    return mean, sum((value - mean) ** 2 for value in x) / len(x)


def normalised(x: list[float]) -> list[float]:
    mean, variance = moments(x)
    return [(value - mean) / math.sqrt(variance + 1e-12) for value in x]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_feature_map_mse(lengths: list[int], width: int, left: bool) -> None:
    """Of a student whose states are as large and as far from 0 as MobileBERT's."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, len(lengths), width, 7).unbind()
    student = 1e5 * student + 3e4
    mask = mask_of(lengths, width, left)
    got = losses.feature_map_mse(student, teacher, mask)
    s, t = student.double().tolist(), teacher.double().tolist()
    for b, tokens in enumerate(tokens_of(mask)):
        own, others = ([normalised(x[b][i]) for i in tokens] for x in (s, t))
        total = sum((p - q) ** 2 for x, y in zip(own, others, strict=True) for p, q in zip(x, y, strict=True))
        assert got[b].item() == pytest.approx(total / (len(tokens) * 7), rel=1e-5)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_statistics_of_states(lengths: list[int], width: int, left: bool) -> None:
    """Of different widths."""
    torch.manual_seed(0)
    student, teacher = 2 * torch.randn(len(lengths), width, 7) + 0.5, torch.randn(len(lengths), width, 4)
    mask = mask_of(lengths, width, left)
    means = losses.feature_mean_mse(student, teacher, mask)
    variances = losses.feature_variance_difference(student, teacher, mask)
    s, t = student.double().tolist(), teacher.double().tolist()
    for b, tokens in enumerate(tokens_of(mask)):
        found = [(moments(s[b][i]), moments(t[b][i])) for i in tokens]
        expected = sum((theirs[0] - own[0]) ** 2 for own, theirs in found) / len(tokens)
        assert means[b].item() == pytest.approx(expected, rel=1e-4)
        expected = sum(abs(theirs[1] - own[1]) for own, theirs in found) / len(tokens)
        assert variances[b].item() == pytest.approx(expected, rel=1e-5)


def test_states_of_one_value_everywhere() -> None:
    """Their variance is 0: normalised they are zeros, and all gradients are finite."""
    torch.manual_seed(0)
    mask, teacher = torch.ones(1, 2), torch.randn(1, 2, 6)
    constant = torch.tensor([0.0, 3.0])[None, :, None].expand(1, 2, 6).clone()
    value, (gradient,) = value_and_gradients(losses.feature_map_mse, [constant], (teacher, mask))
    assert value.item() == pytest.approx(1.0)  # the mean square of what is normalised
    assert gradient.isfinite().all()
    value, (gradient,) = value_and_gradients(losses.feature_variance_difference, [constant], (teacher, mask))
    assert value.item() == pytest.approx(teacher.var(-1, correction=0).mean().item())
    assert gradient.abs().max() == 0
    value, (gradient,) = value_and_gradients(losses.feature_map_mse, [constant], (constant + 1, mask))
    assert value.item() == gradient.abs().max() == 0


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_gram_mse(lengths: list[int], width: int, left: bool) -> None:
    torch.manual_seed(0)
    layers = torch.randn(4, len(lengths), width, 3).unbind()
    mask = mask_of(lengths, width, left)
    got = TWO["gram_mse"](*layers, mask)
    x, y, a, b = (layer.double().tolist() for layer in layers)
    for e, tokens in enumerate(tokens_of(mask)):
        total = 0.0
        for i in range(3):
            for j in range(3):
                own, others = (sum(p[e][k][i] * q[e][k][j] for k in tokens) for p, q in ((x, y), (a, b)))
                total += (own / len(tokens) - others / len(tokens)) ** 2
        assert got[e].item() == pytest.approx(total / 9, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
def test_neuron_selectivity(
    monkeypatch: pytest.MonkeyPatch, form: str, lengths: list[int], width: int, left: bool
) -> None:
    """Of different widths."""
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    layers = [torch.randn(len(lengths), width, size) for size in (3, 3, 5, 5)]
    mask = mask_of(lengths, width, left)
    got = TWO["neuron_selectivity"](*layers, mask)
    x, y, a, b = (layer.double().tolist() for layer in layers)
    for e, tokens in enumerate(tokens_of(mask)):
        total = 0.0
        for i in tokens:
            for j in tokens:
                own, others = (sum(c * d for c, d in zip(p[e][i], q[e][j], strict=True)) for p, q in ((x, y), (a, b)))
                total += (own / 3 - others / 5) ** 2
        assert got[e].item() == pytest.approx(total / len(tokens) ** 2, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_of_neuron_selectivity(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Written out by hand, in float32; against float64. One of the layers is both."""
    monkeypatch.setattr(losses.attention, "_SCORES_PER_WIDTH", FORMS[form])
    torch.manual_seed(0)
    mask = mask_of([5, 2], 5)
    student, teacher = torch.randn(2, 5, 4), torch.randn(2, 5, 6)
    _, (gradient,) = value_and_gradients(
        lambda x: losses.neuron_selectivity((x, x), (teacher, teacher), mask), [student], ()
    )
    pairs = mask[:, :, None] * mask[:, None]

    def plain(x: Tensor) -> Tensor:
        own, others = (z @ z.transpose(1, 2) / z.shape[-1] for z in (x, teacher.double()))
        return ((own - others).square() * pairs).sum((1, 2)) / mask.sum(1).square()

    _, (wanted,) = value_and_gradients(plain, [student.double()], ())
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALL if name != "hidden_mse"])  # whose way is float32's
def test_gradients_in_float64(name: str) -> None:
    torch.manual_seed(0)
    number, loss = ALL[name]
    students, teachers = ([torch.randn(3, 4, 3, dtype=torch.float64) for _ in range(number)] for _ in range(2))
    mask = mask_of([4, 2, 0], 4, left=True)
    for x in students:
        x.requires_grad_()
    assert loss(*students, *teachers, mask).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda *own: loss(*own, *teachers, mask), students)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_padding_reaches_neither_value_nor_gradient(name: str, left: bool) -> None:
    torch.manual_seed(0)
    number, loss = ALL[name]
    students, teachers = ([torch.randn(2, 6, 5) for _ in range(number)] for _ in range(2))
    mask = mask_of([2, 4], 6, left)
    outside = ~mask.bool()[:, :, None].expand(2, 6, 5)
    value, gradients = value_and_gradients(loss, students, (*teachers, mask))
    values = [(1e6, -1e7)]
    if name != "neuron_selectivity":  # whose products are those of attention scores
        values.append((math.nan, math.inf))
    for bad, worse in values:
        spoilt = [[x.masked_fill(outside, b) for x in layers] for layers, b in ((students, bad), (teachers, worse))]
        spoilt_value, spoilt_gradients = value_and_gradients(loss, spoilt[0], (*spoilt[1], mask))
        assert torch.equal(value, spoilt_value)
        assert all(map(torch.equal, gradients, spoilt_gradients))
    for gradient in gradients:
        assert torch.equal(gradient[outside], torch.zeros(int(outside.sum())))
        counted = ~outside if name != "cls_direction" else ~outside & (mask.cumsum(1) == 1)[:, :, None]
        assert gradient[counted].abs().min() > 0


@pytest.mark.parametrize("name", ALL)
def test_an_example_is_worth_the_same_alone(name: str) -> None:
    torch.manual_seed(0)
    number, loss = ALL[name]
    layers = [torch.randn(3, 6, 5) for _ in range(2 * number)]
    lengths = [6, 1, 3]
    together = loss(*layers, mask_of(lengths, 6))
    for b, n in enumerate(lengths):
        alone = loss(*(x[b, None, :n] for x in layers), torch.ones(1, n))
        torch.testing.assert_close(together[b, None], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_no_tokens_and_vectors_of_zeros(name: str) -> None:
    """The first example has no tokens: it gives 0. The states of the others are zeros, of one or both models."""
    torch.manual_seed(0)
    number, loss = ALL[name]
    students, teachers = ([torch.randn(4, 3, 5) for _ in range(number)] for _ in range(2))
    for x, y in zip(students, teachers, strict=True):
        x[1], y[2], x[3], y[3] = 0.0, 0.0, 0.0, 0.0
    value, gradients = value_and_gradients(loss, students, (*teachers, mask_of([0, 3, 3, 2], 3)))
    assert value[0] == 0
    assert value.isfinite().all()
    for gradient in gradients:
        # States of zeros are normalised by the root of 1e-12.
        assert gradient.abs().max() < (1e7 if name == "feature_map_mse" else 1e3)
        assert torch.equal(gradient[0], torch.zeros(3, 5))
    if name in ("hidden_cosine", "cls_direction"):
        assert value.tolist() == pytest.approx([0, 1, 1, 1 if name == "hidden_cosine" else 0])
        assert torch.equal(gradients[0][[1, 3]], torch.zeros(2, 3, 5))


@pytest.mark.parametrize("name", ALL)
def test_half_precision_states_are_compared_in_float32(name: str) -> None:
    torch.manual_seed(0)
    number, loss = ALL[name]
    layers = [torch.randn(2, 8, 16).bfloat16() for _ in range(2 * number)]
    mask = mask_of([8, 3], 8)
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(*layers, mask)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), loss(*(x.double() for x in layers), mask).double(), rtol=1e-5, atol=1e-6)

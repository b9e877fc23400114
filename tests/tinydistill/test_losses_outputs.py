"""Losses of logits and labels against their formulas in float64, and the table of all losses."""

import math

import pytest
import torch
from torch import Tensor

from tests.tinydistill.loss_inputs import kl, softmax
from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys

OF_LOGITS = [name for name, feature in losses.FEATURES.items() if feature == "logits"]


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


def test_soft_cross_entropy_in_original_code() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 5).unbind()
    got = losses.soft_cross_entropy_in_original_code(logits, targets, 2.0)
    expected = (-(targets / 2).softmax(-1) * (logits / 2).log_softmax(-1)).mean()
    assert got.mean().item() == pytest.approx(expected.item(), rel=1e-5)


def jensen_shannon(t: list[float], s: list[float]) -> float:
    middle = [(a + b) / 2 for a, b in zip(t, s, strict=True)]
    return (kl(s, middle) + kl(t, middle)) / 2


DIVERGENCES = {"kl_divergence": kl, "reverse_kl": lambda t, s: kl(s, t), "jensen_shannon": jensen_shannon}


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (3, 5), (2, 1)])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences(name: str, temperature: float, rows: int, classes: int) -> None:
    torch.manual_seed(0)
    student, teacher = (3 * torch.randn(2, rows, classes)).unbind()
    got = losses.LOSSES[name].function(student, teacher, temperature)
    for n in range(rows):
        s, t = (softmax([x / temperature for x in z[n].double().tolist()]) for z in (student, teacher))
        assert got[n].item() == pytest.approx(DIVERGENCES[name](t, s), rel=1e-4, abs=1e-7)


def test_the_divergence_is_the_cross_entropy_less_the_teachers_entropy() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64).unbind()
    entropy = losses.soft_cross_entropy(teacher, teacher, 2.0)
    difference = losses.soft_cross_entropy(student, teacher, 2.0) - entropy
    torch.testing.assert_close(losses.kl_divergence(student, teacher, 2.0), difference)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_a_temperature_for_each_row(name: str) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 5).unbind()
    temperatures = [0.5, 1.0, 8.0]
    loss = losses.LOSSES[name].function
    got = loss(student, teacher, torch.tensor(temperatures)[:, None])
    alone = [loss(student[n, None], teacher[n, None], t).item() for n, t in enumerate(temperatures)]
    assert got.tolist() == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_large_logits(name: str, dtype: torch.dtype) -> None:
    """They disagree wholly: values are those of the limit, and nothing is NaN."""
    student = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4], [1e4, -1e4], [0.0, 0.0]], dtype=dtype)
    value = losses.LOSSES[name].function(student, teacher)
    value.sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    limits = {
        "soft_cross_entropy": [2e4, 0, 1e4],
        "soft_cross_entropy_in_original_code": [1e4, 0, 5e3],
        "kl_divergence": [2e4, 0, 1e4 - math.log(2)],
        "reverse_kl": [2e4, 0, math.log(2)],
        "jensen_shannon": [math.log(2), 0, (math.log(4 / 3) + math.log(2 / 3) / 2 + math.log(2) / 2) / 2],
        "soft_binary_cross_entropy": [2e4, 0, 1e4],
        "logits_mse": [4e8, 0, 1e8],
    }
    assert value.dtype == torch.float32
    assert value.tolist() == pytest.approx(limits[name], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_float64_stays_and_the_gradient_is_right(name: str) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64).unbind()
    loss = losses.LOSSES[name].function
    assert loss(student, teacher, 2.0).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, 2.0), student.requires_grad_())


def test_logits_mse() -> None:
    student, teacher = torch.tensor([[1.5], [-2.0]]), torch.tensor([[1.0], [1.0]])
    assert losses.logits_mse(student, teacher).tolist() == [0.25, 9.0]


def test_logits_mse_at_a_temperature() -> None:
    student, teacher = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])
    assert losses.logits_mse(student, teacher, 2.0).tolist() == [(0.25 + 2.25) / 2]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_binary_cross_entropy(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4).unbind()
    got = losses.soft_binary_cross_entropy(student, teacher, temperature)
    for n in range(3):
        expected = 0.0
        for s, t in zip(student[n].tolist(), teacher[n].tolist(), strict=True):
            p, q = (1 / (1 + math.exp(-x / temperature)) for x in (t, s))
            expected -= p * math.log(q) + (1 - p) * math.log(1 - q)
        assert got[n].item() == pytest.approx(expected, rel=1e-5)


def test_gold_losses() -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0]])
    expected = math.log(sum(math.exp(x) for x in (2.0, 0.5, -1.0))) - 0.5
    assert losses.gold_cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)
    assert losses.gold_mse(torch.tensor([[2.5]]), torch.tensor([4.0])).tolist() == [2.25]


def test_shift_probability_exchanges_the_largest_logit_and_the_gold_labels() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0], [7.0, 1.0, 3.0], [1.0, 2.0, 3.0], [4.0, 9.0, 6.0]])
    before = logits.clone()
    got = losses.shift_probability(logits, torch.tensor([2, 0, -100, -1]))
    assert got.tolist() == [[1.0, 2.0, 5.0], [7.0, 1.0, 3.0], [1.0, 2.0, 3.0], [4.0, 9.0, 6.0]]
    assert torch.equal(logits, before)


def test_shift_probability_of_any_rows() -> None:
    """The gold label is then the largest; the rest are as they were, one exchange apart."""
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 4), torch.randint(-2, 4, (50,))
    got = losses.shift_probability(logits, labels)
    for row, (old, new, label) in enumerate(zip(logits.tolist(), got.tolist(), labels.tolist(), strict=True)):
        if label >= 0:
            top = old.index(max(old))
            old[top], old[label] = old[label], old[top]
            assert new.index(max(new)) == label
        assert new == old, row
    assert losses.shift_probability(logits[:0], labels[:0]).shape == (0, 4)
    assert losses.shift_probability(logits.bfloat16(), labels).dtype == torch.bfloat16


def test_the_table() -> None:
    assert list(losses.FEATURES) == list(losses.LOSSES)
    for name, loss in losses.LOSSES.items():
        assert getattr(losses, name) is loss.function
        assert loss.feature in ("hidden", "attention", "relations", "logits", "labels")
        assert loss.formula.isascii()
        assert loss.source
        assert loss.function.__doc__
        assert loss.takes in ("one", "two")
    assert set(losses.ALIASES.values()) <= set(losses.LOSSES)
    assert not set(losses.ALIASES) & set(losses.LOSSES)
    originals = losses.IN_ORIGINAL_CODE
    assert all(losses.FEATURES[name] == losses.FEATURES[other] for name, other in originals.items())


def inputs_of(name: str, width: int, heads: int) -> tuple:
    """A model's side of the arguments of a loss of layers."""
    loss = losses.LOSSES[name]
    torch.manual_seed(width + heads)
    if loss.feature == "hidden":
        states: Tensor = torch.randn(2, 5, width)
        return ((states, states),) if loss.takes == "two" else (states,)
    parts = [torch.randn(2, heads, 5, width // heads) for _ in range(3)]
    return (QueriesAndKeys(parts[0], parts[1], 0.5, parts[2]),)


@pytest.mark.parametrize("name", [n for n, feature in losses.FEATURES.items() if feature not in ("logits", "labels")])
def test_what_must_agree_is_what_the_table_says(name: str) -> None:
    loss = losses.LOSSES[name]
    rest = (torch.ones(2, 5), 6) if loss.feature == "relations" else (torch.ones(2, 5),)
    assert loss.function(*inputs_of(name, 12, 3), *inputs_of(name, 12, 3), *rest).shape == (2,)
    for width, heads, must_agree in ((24, 3, loss.equal_widths), (12, 1, loss.equal_heads)):
        if loss.feature == "hidden" and width == 12:
            continue
        if must_agree:
            with pytest.raises((ValueError, RuntimeError)):
                loss.function(*inputs_of(name, 12, 3), *inputs_of(name, width, heads), *rest)
        else:
            value = loss.function(*inputs_of(name, 12, 3), *inputs_of(name, width, heads), *rest)
            assert value.shape == (2,)
            assert value.isfinite().all()

"""Dropout of our own draw: which elements, what becomes of the others, and the gradient."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from tinydistill.encoders.cpu.dropout import Dropout, dropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_zero_with_the_probability_asked_for_and_else_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    states = torch.full((401, 499), 2.0, dtype=dtype)
    out = dropout(states, p)
    assert out.dtype == dtype
    assert out.shape == states.shape
    kept = out != 0
    count = states.numel()
    assert abs(kept.sum().item() - count * (1 - p)) < 5 * (count * p * (1 - p)) ** 0.5  # five standard deviations
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 2 / (1 - p)))


def test_elements_are_drawn_independently() -> None:
    """All sixteen outcomes of four neighbours, which share 64 random bits, are as frequent as they should be."""
    torch.manual_seed(0)
    kept = dropout(torch.ones(400_000), 0.3).view(-1, 4) != 0
    outcome = (kept * torch.tensor([8, 4, 2, 1])).sum(1)
    counts = torch.bincount(outcome, minlength=16)
    for which in range(16):
        ones = which.bit_count()
        chance = 0.7**ones * 0.3 ** (4 - ones)
        assert abs(counts[which].item() - 1e5 * chance) < 5 * (1e5 * chance * (1 - chance)) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 1, 7), (2, 3, 4), (0, 4), ()])
def test_any_shape_and_its_gradient(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    states = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    out = dropout(states, 0.4)
    assert out.shape == shape
    gradient = torch.randn(shape, dtype=torch.float64)
    out.backward(gradient)
    expected = torch.where(out == 0, torch.zeros(shape, dtype=torch.float64), gradient / 0.6)
    torch.testing.assert_close(states.grad, expected)


def test_elements_without_order_in_memory() -> None:
    torch.manual_seed(0)
    states = torch.arange(1.0, 25.0).view(2, 3, 4).transpose(0, 2)
    out = dropout(states, 0.5)
    torch.testing.assert_close(out[out != 0], (states * 2)[out != 0])


def test_the_ends() -> None:
    states = torch.randn(7, 3)
    assert dropout(states, 0.0) is states
    assert dropout(states, 0.9, training=False) is states
    assert not dropout(states, 1.0).any()


def test_the_same_seed_draws_the_same() -> None:
    states = torch.randn(50, 3)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(dropout(states, 0.5))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def test_every_dropout_of_a_model_is_replaced_and_nothing_else() -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    model = BertForSequenceClassification(config)
    before = model.state_dict().keys()
    replace_dropout(model)
    replaced = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert len(replaced) == 5
    assert all(type(module) is Dropout for module in replaced)
    assert model.state_dict().keys() == before
    states = torch.ones(1_000)
    assert model.dropout.eval()(states) is states
    assert 0 < (model.dropout.train()(states) == 0).sum() < 300

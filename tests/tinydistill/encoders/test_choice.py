"""Each faster way on the CPU: tried once before its first use, and PyTorch's own where it fails or is turned off."""

import ctypes
import platform
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glue_tasks.errors import warn_once
from tinydistill.encoders.cpu import attention, choice, dropout, memory, products, squared_errors
from tinydistill.encoders.cpu.choice import PLAIN, uses

GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process."""
    monkeypatch.delenv(PLAIN, raising=False)
    monkeypatch.setattr(products, "_has_avx512", lambda: True)
    for cached in (choice.passes, warn_once):
        cached.cache_clear()
    yield
    for cached in (choice.passes, warn_once):
        cached.cache_clear()


def fail(*given: object) -> None:
    raise RuntimeError("no such operator\nand more lines")


def packs() -> bool:
    linear = nn.Linear(4, 3)
    model = nn.Sequential(linear)
    products.prepare_products(model, "float32")
    return type(model[0]) is products.PackedLinear


def drops_by_bits() -> bool:
    states = torch.ones(50, requires_grad=True)
    return type(dropout.dropout(states, 0.5).grad_fn).__name__ == "_DropoutBackward"


def fills_up() -> bool:
    seen = []

    def fused(query: torch.Tensor, key: torch.Tensor, *others: object) -> torch.Tensor:
        seen.append(key.shape[2])
        return query

    states = torch.randn(1, 1, 13, 4)
    attention.attend(states, states, states, None, 1.0, 0.0, fused, mask_is_all=True)
    return seen == [16]


def writes_gradients_out() -> bool:
    states = torch.ones(1, 2, 3, requires_grad=True)
    error = squared_errors.masked_squared_error(states, 2 * states, torch.ones(1, 2, dtype=torch.bool))
    return type(error.grad_fn).__name__ == "_SquaredErrorBackward"


def keeps_memory(monkeypatch: pytest.MonkeyPatch) -> bool:
    calls = []
    library = SimpleNamespace(mallopt=lambda *of: calls.append(of) or 1, gnu_get_libc_version=None)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    memory.keep_freed_memory()
    return bool(calls)


# Each way: whether it is taken, and what is broken so that its check must fail.
WAYS: dict[str, tuple[Callable[[], bool], object, str, object]] = {
    "products": (packs, products.PackedLinear, "forward", lambda self, states: states.new_zeros(len(states), 32)),
    "dropout": (drops_by_bits, dropout, "_factors", lambda states, p: torch.full_like(states, 1 / (1 - p))),
    "attention": (fills_up, attention, "_filled_up", lambda key, value, mask: (key, 2 * value, mask)),
    "attention with dropout": (fills_up, attention, "_added", lambda mask: torch.zeros(mask.shape)),
    "squared errors": (
        writes_gradients_out,
        squared_errors,
        "_sum_of_squares",
        lambda values: values.flatten(1).sum(1),
    ),
    "scores": (writes_gradients_out, squared_errors, "_zero_masked", lambda values, mask: values),
}
X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_taken_silently(way: str, caplog: pytest.LogCaptureFixture) -> None:
    assert WAYS[way][0]() == (X86 or way != "products")
    assert caplog.text == ""


@pytest.mark.parametrize("way", WAYS)
def test_a_check_that_fails_falls_back_and_is_told_once(
    way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken, where, name, broken = WAYS[way]
    monkeypatch.setattr(where, name, broken)
    assert not taken()
    assert not taken()
    if X86 or way != "products":
        (told,) = caplog.messages
        assert "cannot be used here and PyTorch's own way is taken, which is slower (" in told


@pytest.mark.parametrize("way", WAYS)
def test_all_are_turned_off_silently(
    way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PLAIN, "1")
    assert not WAYS[way][0]()
    assert not caplog.messages
    monkeypatch.setenv(PLAIN, "0")
    assert WAYS[way][0]() == (X86 or way != "products")


@pytest.mark.skipif(not X86, reason="elsewhere nothing is packed")
def test_products_without_their_operator(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    states = torch.randn(2, 4)
    for precision in ("float32", "float32", "bf16"):
        linear = nn.Linear(4, 3)
        wanted = linear(states)
        model = nn.Sequential(linear)
        products.prepare_products(model, precision)
        with products.packed_products(model, precision):
            assert type(model[0]) is nn.Linear
        close = {"rtol": 2e-2, "atol": 2e-2} if precision == "bf16" else {}
        torch.testing.assert_close(model(states.to(model[0].weight.dtype)).float(), wanted, **close)
    (told,) = caplog.messages
    assert "products of packed weights cannot be used here" in told
    assert "_reorder_linear_weight" in told


def test_plain_dropout_is_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLAIN, "1")
    states, drawn = torch.ones(1000), []
    for draw in (dropout.dropout, F.dropout):
        torch.manual_seed(0)
        drawn.append(draw(states, 0.3))
    assert torch.equal(*drawn)


def test_freed_memory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert keeps_memory(monkeypatch)
    choice.passes.cache_clear()
    monkeypatch.setenv(PLAIN, "1")
    assert not keeps_memory(monkeypatch)
    monkeypatch.delenv(PLAIN)
    library = SimpleNamespace(mallopt=lambda *of: 0, gnu_get_libc_version=None)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    memory.keep_freed_memory()
    memory.keep_freed_memory()
    assert caplog.messages == [
        "keeping freed memory cannot be used here and PyTorch's own way is taken, which is slower (mallopt refused)"
    ]


@pytest.mark.skipif(not GLIBC, reason="of glibc alone")
def test_glibc_is_known() -> None:
    assert hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def test_a_check_runs_once_and_changes_nothing_around_it() -> None:
    calls = []

    def check() -> None:
        calls.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        assert not torch.is_autocast_enabled("cpu")
        assert torch.randn(2, requires_grad=True).square().sum().grad_fn is not None

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert uses("this", check)
        assert uses("this", check)
        assert torch.is_inference_mode_enabled()
        assert torch.empty(1).device.type == "meta"
    assert calls == [True]
    assert torch.equal(torch.rand(3), expected)


def test_what_lies_outside_the_program_is_no_failed_check() -> None:
    def check() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        uses("this", check)


def test_a_failure_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    assert not uses("this", fail)
    assert caplog.messages == [
        "this cannot be used here and PyTorch's own way is taken, which is slower (no such operator)"
    ]


def test_one_of_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinydistill.encoders.cpu import dropout as module

    def check() -> None:
        pass

    check.__module__ = module.__name__
    for value, runs in (("products", True), ("products,dropout", False), ("dropout", False), ("1", False), ("", True)):
        monkeypatch.setenv(PLAIN, value)
        assert uses("a way of dropout", check) == runs

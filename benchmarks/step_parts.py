"""The parts of a training step that are done in another way than PyTorch's own: each beside it, in turns, in one run.

Sizes are those of BERT-base and of a student of 312 in 12 heads, with batches of 32.

    python -m benchmarks.step_parts
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from tinydistill.encoders.attention import sdpa_with_scores
from tinydistill.encoders.cpu.dropout import dropout
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import PackedLinear
from tinydistill.losses import hidden_mse

ROUNDS = 30
BATCH, HEADS = 32, 12


def main() -> None:
    """Time each part."""
    print("| part | PyTorch's, ms | ours, ms | ratio |\n|---|---|---|---|")
    fresh = _median(_gradient)  # before anything keeps freed memory
    keep_freed_memory()
    _median(_gradient)
    _print("a gradient of 30,522 x 312, taken anew and freed", fresh, _median(_gradient))
    states = torch.randn(BATCH, 13, 312, requires_grad=True)
    _in_turns(
        "dropout of 32 x 13 x 312, forward and backward",
        lambda: F.dropout(states, 0.1).sum().backward(),
        lambda: dropout(states, 0.1).sum().backward(),
    )
    for length in (13, 64, 128):
        parts = _query_key_value(length, 312 // HEADS, requires_grad=True)
        _in_turns(
            f"bf16 attention with dropout, {length} pieces, forward and backward",
            partial(_and_back, _plain_attention, parts),
            partial(_and_back, _our_attention, parts),
        )
    for length in (13, 64):
        hidden, teachers = (torch.randn(BATCH, length, 768, dtype=torch.bfloat16) for _ in range(2))
        given = hidden.requires_grad_(), teachers, _mask(hidden[:, None])[:, 0, 0]
        _in_turns(
            f"squared error of bf16 states, {length} pieces of 768, forward and backward",
            partial(_value_and_gradient, _plain_hidden_mse, *given),
            partial(_value_and_gradient, hidden_mse, *given),
        )
    with torch.inference_mode():
        for size in (312 // HEADS, 64):
            for length in (13, 26, 70, 128):
                parts = _query_key_value(length, size)
                _in_turns(
                    f"bf16 attention, {length} pieces, heads of {size}",
                    partial(_plain_attention, parts, p=0.0),
                    partial(_our_attention, parts, p=0.0),
                )
        for dtype in (torch.bfloat16, torch.float32):
            for rows in (416, 2_048):
                for sizes in ((768, 768), (768, 3072), (3072, 768)):
                    _in_turns(
                        f"product in {dtype}, {rows} rows, {sizes[0]} to {sizes[1]}", *_products(sizes, rows, dtype)
                    )


def _plain_hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    squares = (student.float() - teacher.float()).masked_fill(~mask[:, :, None], 0.0).square()
    return squares.sum((1, 2)) / (mask.sum(1) * student.shape[-1])


def _value_and_gradient(loss: Callable[..., Tensor], *of: Tensor) -> None:
    loss(*of).sum().backward()


def _gradient() -> None:
    torch.zeros(30_522, 312)


def _query_key_value(length: int, size: int, requires_grad: bool = False) -> list[Tensor]:
    """As a model's projections give them, (B, H, L, d)."""
    states = [torch.randn(BATCH, length, HEADS, size, dtype=torch.bfloat16).transpose(1, 2) for _ in range(3)]
    return [each.requires_grad_(requires_grad) for each in states]


def _plain_attention(parts: list[Tensor], p: float) -> Tensor:
    query, key, value = parts
    mask = _mask(query)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout_p=p).transpose(1, 2).contiguous()


def _our_attention(parts: list[Tensor], p: float) -> Tensor:
    query, key, value = parts
    return sdpa_with_scores(_ATTENDS_TO_ALL, query, key, value, _mask(query), dropout=p)[0]


def _and_back(attention: Callable[..., Tensor], parts: list[Tensor]) -> None:
    attention(parts, p=0.1).sum().backward()


_ATTENDS_TO_ALL = nn.Module()
_ATTENDS_TO_ALL.is_causal = False  # type: ignore[assignment]


def _mask(query: Tensor) -> Tensor:
    """Half of the batch has two pieces of padding."""
    mask = torch.ones(BATCH, 1, query.shape[2], query.shape[2], dtype=torch.bool)
    mask[::2, ..., -2:] = False
    return mask


def _products(sizes: tuple[int, int], rows: int, dtype: torch.dtype) -> list[Callable[[], object]]:
    """Of twelve layers, one after the other: weights that were used last lie in the cache."""
    plain = [nn.Linear(*sizes, dtype=dtype) for _ in range(12)]
    packed = [PackedLinear(layer, dtype) for layer in plain]
    states = torch.randn(rows, sizes[0], dtype=dtype)
    return [partial(_through, plain, states), partial(_through, packed, states)]


def _through(layers: Sequence[nn.Module], states: Tensor) -> None:
    for layer in layers:
        layer(states)


def _in_turns(part: str, plain: Callable[[], object], ours: Callable[[], object]) -> None:
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for each, run in zip(times, (plain, ours), strict=True):
            each.append(_seconds(run))
    _print(part, *(statistics.median(each[ROUNDS // 5 :]) for each in times))


def _median(run: Callable[[], object]) -> float:
    return statistics.median(_seconds(run) for _ in range(ROUNDS))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _print(part: str, plain: float, ours: float) -> None:
    print(f"| {part} | {plain * 1e3:.2f} | {ours * 1e3:.2f} | {plain / ours:.2f}x |", flush=True)


if __name__ == "__main__":
    typer.run(main)

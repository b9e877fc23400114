"""The attention loss in its two forms, against a plain one: time and memory of value and gradient, by length.

The plain one makes both models' scores, subtracts, masks and squares, and so does ours for short texts; for long ones
it takes the Gram matrices of the same sum, in which nothing of L x L appears. Sizes are those of a BERT-base beside
tinybert-4l-312d: 12 heads of 64 and of 26.

    python -m benchmarks.attention_loss
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.machine import alone, peak_memory_mb
from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys

FORMS = {"scores": float("inf"), "Gram matrices": 0.0}  # what the choice by length is overruled with


def plain(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """The formula as it stands."""
    ours, theirs = (x.query.float() @ x.key.float().transpose(-1, -2) * x.scale for x in (student, teacher))
    pairs = (mask[:, None, :, None] & mask[:, None, None, :]).bool()
    squares = (ours - theirs).masked_fill(~pairs, 0.0).square()
    return squares.sum((1, 2, 3)) / (ours.shape[1] * mask.sum(1).square())


def measure(form: str, length: int, batch: int, heads: int, sizes: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Seconds of value and gradient, and the memory beyond queries and keys."""
    loss = plain
    if form != "plain":
        losses.attention._SCORES_PER_WIDTH = FORMS[form]
        loss = losses.attention_mse
    torch.manual_seed(0)
    student, teacher = (
        QueriesAndKeys(torch.randn(batch, heads, length, size), torch.randn(batch, heads, length, size), size**-0.5)
        for size in sizes
    )
    student.query.requires_grad_()
    student.key.requires_grad_()
    mask = (torch.arange(length) < torch.linspace(length // 2, length, batch)[:, None]).long()
    short, of_teacher = (QueriesAndKeys(x.query[:1, :, :8], x.key[:1, :, :8], x.scale) for x in (student, teacher))
    loss(short, of_teacher, mask[:1, :8]).sum().backward()
    before = peak_memory_mb()
    loss(student, teacher, mask).sum().backward()
    memory = peak_memory_mb() - before
    began = time.perf_counter()
    for _ in range(repeats):
        value = loss(student, teacher, mask).sum()
        value.backward()
    return {"seconds": (time.perf_counter() - began) / repeats, "memory": memory, "value": value.item()}


def main(
    lengths: Annotated[str, typer.Option(help="Tokens.")] = "32,64,128,256,512",
    batch: Annotated[int, typer.Option(help="Examples.")] = 32,
    heads: Annotated[int, typer.Option(help="Heads.")] = 12,
    sizes: Annotated[str, typer.Option(help="Of a student's and a teacher's head.")] = "26,64",
    repeats: Annotated[int, typer.Option(help="The mean of so many.")] = 5,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/attention_loss.json"
    ),
) -> None:
    """Measure the three at each length."""
    runs = []
    own, teachers = map(int, sizes.split(","))
    print("| tokens | form | milliseconds | times the plain one | memory | value |\n|---|---|---|---|---|---|")
    for length in map(int, lengths.split(",")):
        reference = None
        for form in ("plain", *FORMS):
            measured = alone(measure, form, length, batch, heads, (own, teachers), repeats)
            reference = reference or measured["seconds"]
            ratio = round(reference / measured["seconds"], 2)
            runs.append({"length": length, "form": form, "times_the_plain_one": ratio, **measured})
            print(
                f"| {length} | {form} | {1e3 * measured['seconds']:.1f} | {ratio}x | {measured['memory']} MB | "
                f"{measured['value']:.4f} |",
                flush=True,
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

"""A teacher's pass in each precision: how long it takes, and how far its last hidden states are off.

Time: BERT-base's size, random weights, batches of 32. Error: of a real model on SST-2's dev set, relative to its
states in float32; beside ours a plain way to 8 bits, each row of states and of weights by its largest magnitude.

    python -m benchmarks.teacher_precision
    python -m benchmarks.teacher_precision --model runs/sst-2/teacher
"""

import copy
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.distillation import BATCH, DATA_DIR, MINILM
from benchmarks.machine import check_inputs
from glue_tasks import get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill.encoders.attention import replace_attention
from tinydistill.encoders.cpu.int8 import largest_inputs, quantise
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import autocast

Batch = Mapping[str, Tensor]
ROUNDS, LENGTHS = 12, (13, 64)
ROWS, MAX_LENGTH = 256, 64  # that inputs are scaled by, as the product does; and how long they are at most


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2.")] = DATA_DIR,
    model: Annotated[Path, typer.Option(help="A pretrained or fine-tuned encoder.")] = MINILM,
) -> None:
    """Time and compare."""
    check_inputs(data_dir=data_dir, model=model)
    keep_freed_memory()
    print("| precision | " + " | ".join(f"{length} pieces, ms" for length in LENGTHS) + " | |\n" + "|---" * 4 + "|")
    plain = None
    for precision in ("float32", "bf16", "int8"):
        times = _times(precision)
        plain = plain or times
        ratios = ", ".join(f"{of_plain / own:.2f}x" for of_plain, own in zip(plain, times, strict=True))
        print(f"| {precision} | " + " | ".join(f"{each * 1e3:.0f}" for each in times) + f" | {ratios} |", flush=True)
    print("\n| precision | last hidden states off by |\n|---|---|")
    for precision, off in _errors(data_dir, model):
        print(f"| {precision} | {off:.2%} |", flush=True)


def _times(precision: str) -> list[float]:
    """Seconds of a pass, by length."""
    torch.manual_seed(0)
    encoder = BertModel(BertConfig()).eval().requires_grad_(False)
    of_length = [_random_batch(length) for length in LENGTHS]
    _prepare(encoder, precision, of_length)
    return [statistics.median(_seconds(encoder, batch, precision) for _ in range(ROUNDS + 2)) for batch in of_length]


def _seconds(encoder: PreTrainedModel, batch: Batch, precision: str) -> float:
    began = time.perf_counter()
    _states(encoder, batch, precision)
    return time.perf_counter() - began


def _random_batch(length: int) -> Batch:
    """Half of it has two pieces of padding."""
    mask = torch.ones(BATCH, length, dtype=torch.long)
    mask[::2, -2:] = 0
    return {"input_ids": torch.randint(1_000, 30_000, mask.shape), "attention_mask": mask}


def _errors(data_dir: Path, model: Path) -> Iterator[tuple[str, float]]:
    """Precision -> norm of the difference to float32's states, over theirs."""
    encoder = AutoModel.from_pretrained(model, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(model)
    train, dev = (_batches(data_dir, split, tokenizer) for split in ("train", "dev"))
    wanted = torch.cat([_states(encoder, batch, "float32") for batch in dev])
    for precision in ("bf16", "int8", "8 bits, the plain way"):
        other = copy.deepcopy(encoder)
        if precision == "8 bits, the plain way":
            for name, linear in list(other.named_modules()):
                if isinstance(linear, nn.Linear) and any(part.isdigit() for part in name.split(".")):  # in a block
                    other.set_submodule(name, PlainInt8(linear))
        else:
            _prepare(other, precision, train)
        how = "float32" if precision.startswith("8") else precision
        found = torch.cat([_states(other, batch, how) for batch in dev])
        yield precision, ((found - wanted).norm() / wanted.norm()).item()


class PlainInt8(nn.Module):
    """What 8-bit integers make of a product, computed in float32."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = _rounded(linear.weight), linear.bias

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.linear(_rounded(states), self.weight, self.bias)


def _rounded(rows: Tensor) -> Tensor:
    step = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / step).round() * step


def _batches(data_dir: Path, split: str, tokenizer: PreTrainedTokenizerBase) -> list[Batch]:
    task = get_task("SST-2")
    texts = [row.texts[0] for row in open_table(task, find_file(task, data_dir, split), split)]
    texts = texts[:: max(1, len(texts) // ROWS)][:ROWS] if split == "train" else texts
    encoded = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
    return [
        tokenizer(few, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt") for few in encoded
    ]


def _prepare(encoder: PreTrainedModel, precision: str, batches: list[Batch]) -> None:
    """As the product does for a teacher."""
    replace_attention(encoder)
    if precision == "int8":
        quantise(encoder, largest_inputs(encoder, batches, "bf16"), "bf16")
    prepare_products(encoder, "float32" if precision == "float32" else "bf16")


@torch.inference_mode()
def _states(encoder: PreTrainedModel, batch: Batch, precision: str) -> Tensor:
    """The last hidden states of the valid pieces, (N, D)."""
    with autocast("float32" if precision == "float32" else "bf16", encoder.device):
        return encoder(**batch).last_hidden_state[batch["attention_mask"].bool()].float()


if __name__ == "__main__":
    typer.run(main)

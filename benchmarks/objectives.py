"""What each objective costs a step, beside TinyBERT's pair: time at several lengths, and memory.

A step is the teacher's forward pass, the student's, the loss and its gradient, of 32 sentences without padding; the
teacher is the small real encoder, the student has 3 blocks of width 312. Objectives take turns in one process, and the
fewest processor seconds count. Memory is the most that a step holds beside the models.

    python -m benchmarks.objectives
    python -m benchmarks.objectives --lengths 128 --names hidden_mse,minilm,bert-emd
"""

import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from benchmarks.distillation import MINILM
from benchmarks.machine import MemoryWatch, alone, check_inputs, give_back
from glue_tasks import get_task
from glue_tasks.errors import exit_on_user_error
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.precision import autocast
from tinydistill.kinds import kind_of
from tinydistill.layer_map import LayerMap
from tinydistill.losses import LOSSES
from tinydistill.objectives import TEACHER
from tinydistill.presets import PRESETS, preset
from tinydistill.resolving import Sizes, resolve
from tinydistill.students import StudentSpec, build_student
from tinydistill.teachers import LiveTeacher

BATCH, FIRST = 32, "tinybert"  # what the others are compared with
_STUDENT = "shape:layers=3,hidden=312,heads=12,ffn=1200"
NAMES = (*PRESETS, *(name for name in LOSSES if "original" not in name and "binary" not in name and name != "gold_mse"))


@exit_on_user_error(resumable=False)
def main(
    minilm: Annotated[Path, typer.Option(help="The teacher.")] = MINILM,
    lengths: Annotated[str, typer.Option(help="Pieces of a sentence.")] = "13,64,128",
    names: Annotated[str, typer.Option(help="Presets and losses.")] = ",".join(NAMES),
    rounds: Annotated[int, typer.Option(help="Turns; the fastest counts.")] = 3,
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
) -> None:
    """Print the table."""
    check_inputs(minilm=minilm)
    wanted = list(dict.fromkeys([FIRST, *names.split(",")]))
    pieces = [int(length) for length in lengths.split(",")]
    found = {length: alone(_measure, str(minilm), wanted, length, rounds, precision) for length in pieces}
    print("| objectives | " + " | ".join(f"{length} pieces" for length in pieces) + " |")
    print("|---" * (len(pieces) + 1) + "|")
    for name in wanted:
        cells = [
            f"{own[name][0] * 1e3:.0f} ms, {own[name][0] / own[FIRST][0]:.2f}x, {own[name][1]} MB"
            for own in (found[length] for length in pieces)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


class _Step:
    """One objective's step on sentences of one length."""

    def __init__(self, minilm: str, name: str, length: int, precision: str):
        task = get_task("SST-2")
        torch.manual_seed(0)
        teacher = AutoModelForSequenceClassification.from_pretrained(minilm, dtype=torch.float32)
        student = build_student(StudentSpec.parse(_STUDENT), teacher, task, LayerMap(()), seed=0)
        own, theirs = Sizes.of(student.config), Sizes.of(teacher.config)
        objectives = resolve(preset(name), kind_of(task).losses, own, {TEACHER: theirs})
        self.distiller = Distiller(student, objectives, {TEACHER: theirs.width}).train()
        self.precision, self.device = precision, torch.device("cpu")
        self.signal = LiveTeacher(teacher, objectives, precision, self.device)
        ids = torch.randint(1000, 20_000, (BATCH, length))
        ones = torch.ones_like(ids)
        self.batch: dict[str, Tensor] = {"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ones}
        self.batch["labels"] = torch.arange(BATCH) % 2

    def __call__(self) -> float:
        """Processor seconds."""
        began = time.process_time()
        with autocast(self.precision, self.device):
            losses = self.distiller(self.batch, self.signal(self.batch))
        torch.stack([each.mean() for each in losses.values()]).sum().backward()
        self.distiller.end_step()
        self.distiller.zero_grad()
        return time.process_time() - began


def _measure(minilm: str, names: list[str], length: int, rounds: int, precision: str) -> dict[str, Any]:
    """Processor seconds and MB of each name's step."""
    steps = {name: _Step(minilm, name, length, precision) for name in names}
    steps[FIRST]()  # what the libraries set up at first use is no step's
    memory = {}
    for name, step in steps.items():
        give_back()
        with MemoryWatch() as watch:
            step()
        memory[name] = watch.anonymous_mb
    keep_freed_memory()  # as runs do; from here on memory tells nothing
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(step())
    return {name: (min(taken[name]), memory[name]) for name in steps}


if __name__ == "__main__":
    typer.run(main)

"""What each faster way on the CPU gains of a whole step: a phase with it, and with PyTorch's own instead, in turns.

A way is worth its code where it gains 5% or more on some phase.

    python -m benchmarks.step_shares
    python -m benchmarks.step_shares --pairs base-4l --data RTE --precision float32 --rows 320 --rounds 2
"""

import os
import statistics
from typing import Annotated

import typer

from benchmarks.distillation import DATA_DIR, MINILM, Case, measure_ours
from benchmarks.machine import alone
from glue_tasks.errors import exit_on_user_error
from tinydistill.encoders.cpu.choice import PLAIN

WAYS = ("attention", "dropout", "memory", "products", "squared_errors", "1")  # files of encoders/cpu; 1 is all of them


@exit_on_user_error(resumable=False)
def main(
    pairs: Annotated[str, typer.Option(help="As in benchmarks.distillation.")] = "minilm-3l",
    data: Annotated[str, typer.Option(help="SST-2 is short, RTE is long.")] = "SST-2",
    precision: Annotated[str, typer.Option(help="bf16 or float32.")] = "float32",
    phases: Annotated[str, typer.Option(help="Of intermediate, prediction.")] = "intermediate,prediction",
    rows: Annotated[int, typer.Option(help="Training rows.")] = 640,
    rounds: Annotated[int, typer.Option(help="Turns; the median counts.")] = 3,
) -> None:
    """Time the phases with each way turned off."""
    print(
        "| models, data, phase | "
        + " | ".join(f"without {way}" for way in WAYS).replace("without 1", "all plain")
        + " |"
    )
    print("|---" * (len(WAYS) + 1) + "|")
    for pair in pairs.split(","):
        for name in data.split(","):
            for phase in phases.split(","):
                case = Case(pair, name, phase, precision, rows, 0, str(DATA_DIR), str(MINILM))
                times: dict[str, list[float]] = {way: [] for way in ("0", *WAYS)}
                for _ in range(rounds):
                    for way, seconds in times.items():
                        os.environ[PLAIN] = way  # which the process of the measurement inherits
                        seconds.append(alone(measure_ours, case)["processor"])
                with_all, *others = (statistics.median(seconds) for seconds in times.values())
                cells = [f"{other / with_all - 1:+.1%}" for other in others]
                print(f"| {pair}, {name}, {phase}, {precision} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)

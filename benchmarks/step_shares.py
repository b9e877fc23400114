"""What each faster way on the CPU gains of a whole step: a phase with it, and with PyTorch's own instead, side by side.

A way is worth its code where it gains 5% or more on some phase.

    python -m benchmarks.step_shares
    python -m benchmarks.step_shares --data RTE --rows 256
"""

from typing import Annotated

import typer

from benchmarks.distillation import DATA_DIR, MINILM, Case, measure_ours
from benchmarks.machine import times_as_long
from glue_tasks.errors import exit_on_user_error
from tinydistill.encoders.cpu.choice import PLAIN

WAYS = ("attention", "dropout", "memory", "products", "squared_errors")  # files of encoders/cpu


@exit_on_user_error(resumable=False)
def main(
    pairs: Annotated[str, typer.Option(help="As in benchmarks.distillation.")] = "minilm-3l",
    data: Annotated[str, typer.Option(help="SST-2 is short, RTE is long.")] = "SST-2",
    precision: Annotated[str, typer.Option(help="bf16 or float32.")] = "float32",
    phases: Annotated[
        str, typer.Option(help="Of intermediate, prediction, evaluation.")
    ] = "intermediate,prediction,evaluation",
    ways: Annotated[str, typer.Option(help="Files of tinydistill/encoders/cpu; 1 is all of them.")] = ",".join(WAYS),
    rows: Annotated[int, typer.Option(help="Rows, 256 or more.")] = 480,
) -> None:
    """Print how much longer the phases take without each way, by processor seconds of one thread."""
    named = ways.split(",")
    print("| models, data, phase | " + " | ".join(f"without {way}" for way in named) + " |", flush=True)
    print("|---" * (len(named) + 1) + "|")
    for pair in pairs.split(","):
        for name in data.split(","):
            for phase in phases.split(","):
                case = Case(pair, name, phase, precision, rows, 0, str(DATA_DIR), str(MINILM))
                print(f"| {pair}, {name}, {phase}, {precision} |", end="", flush=True)
                for way in named:
                    longer = times_as_long(measure_ours, (case,), {PLAIN: "0"}, {PLAIN: way})
                    print(f" {longer - 1:+.1%} |", end="", flush=True)
                print()


if __name__ == "__main__":
    typer.run(main)

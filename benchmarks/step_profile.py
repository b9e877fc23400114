"""Where the time of a training step goes, by kind of work, with the product's trainer and the benchmark's models.

python -m benchmarks.step_profile
python -m benchmarks.step_profile --pairs minilm-3l --data RTE --precisions float32
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from datasets import Dataset
from torch.profiler import ProfilerActivity, profile

from benchmarks.distillation import DATA_DIR, MINILM, PAIRS, Case, Setup, distiller_of, train, with_logits
from benchmarks.machine import check_inputs
from glue_tasks.errors import exit_on_user_error
from tinydistill.encoders.cpu.memory import keep_freed_memory

STEPS = 30
# What PyTorch's operations are, by how their names begin; the first that fits. In a phase with the teacher in each
# step, its packed products are told from the student's.
KINDS = {
    "teacher's products": ("mkldnn::_linear_pointwise", "onednn::qlinear_pointwise"),
    "student's products": ("aten::mm", "aten::addmm"),
    "attention and its loss": ("aten::_scaled_dot_product", "aten::bmm", "aten::_softmax", "aten::baddbmm"),
    "casts and copies": ("aten::copy_",),
    "zeroing": ("aten::fill_", "aten::zero_"),
    "GELU": ("aten::gelu",),
    "dropout": ("aten::random_", "aten::ge", "_Dropout", "aten::bernoulli_"),
    "layer norm": ("aten::native_layer_norm",),
    "optimiser and clipping": ("aten::_fused_adamw_", "Optimizer.", "aten::_foreach", "aten::linalg_vector_norm"),
    "embeddings": ("aten::embedding", "aten::index_select"),
    "batches": ("enumerate(DataLoader)",),
}


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2 and RTE.")] = DATA_DIR,
    minilm: Annotated[Path, typer.Option(help="The small teacher, and the tokenizer of all.")] = MINILM,
    pairs: Annotated[str, typer.Option(help=f"Of {', '.join(PAIRS)}.")] = "base-4l",
    data: Annotated[str, typer.Option(help="Tasks.")] = "SST-2,RTE",
    precisions: Annotated[str, typer.Option(help="bf16, float32.")] = "bf16",
) -> None:
    """Profile a step of each phase."""
    check_inputs(data_dir=data_dir, minilm=minilm)
    runs = {
        f"{pair}, {name}, {phase}, {precision}": shares(
            Case(pair, name, phase, precision, STEPS * 32, 0, str(data_dir), str(minilm))
        )
        for pair in pairs.split(",")
        for name in data.split(",")
        for phase in ("intermediate", "prediction")
        for precision in precisions.split(",")
    }
    print("| " + " | ".join(["", *runs]) + " |\n" + "|---" * (len(runs) + 1) + "|")
    for kind in [*KINDS, "all else"]:
        print("| " + " | ".join([kind, *(f"{run[kind]:.1%}" for run in runs.values())]) + " |")


def shares(case: Case) -> dict[str, float]:
    """Kind of work -> share of the processor time of an epoch."""
    keep_freed_memory()
    setup = Setup(case)
    collate = setup.collate()
    rows: Dataset = setup.rows if case.phase == "intermediate" else with_logits(setup, setup.rows, collate)
    distiller = distiller_of(setup)
    train(setup, distiller, rows, collate, epochs=1, max_steps=8)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train(setup, distiller, rows, collate, epochs=1)
    times = Counter({event.key: event.self_cpu_time_total for event in profiled.key_averages()})
    whole = times.total()
    found = dict.fromkeys([*KINDS, "all else"], 0.0)
    for key, time in times.items():
        kind = next((kind for kind, names in KINDS.items() if key.startswith(names)), "all else")
        found[kind] += time / whole
    return found


if __name__ == "__main__":
    typer.run(main)

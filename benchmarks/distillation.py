"""How fast distillation runs, against a plain reference in the same run.

The reference does what a straightforward script does: float32, every batch padded to the maximum length, eager
attention, all hidden states and scores of all layers of both models, the teacher run in every step. Ours is the
product's trainer with its defaults. Both see the same rows, batches of 32 and the same sizes of models; BERT-base's
weights are random, which takes as long. Each measurement runs in a process of its own, after a few steps to warm up.
Rows are examples of the training file, counted as often as they are trained on. The share of the matrix peak is the
arithmetic of the blocks for real tokens (no padding) a second, against a bare product at that precision.

    python -m benchmarks.distillation
    python -m benchmarks.distillation --pairs base-4l --data SST-2 --phases intermediate,prediction
"""

import itertools
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PrinterCallback,
    TrainingArguments,
)

from benchmarks.machine import Clock, alone, check_inputs, matrix_peak, peak_memory_mb
from benchmarks.plain_distillation import PlainReference
from glue_tasks import UserError, get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill import layer_map
from tinydistill.data import Collator, column
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu.int8 import largest_inputs, quantise
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.evaluation import predict
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Lengths
from tinydistill.objectives import TEACHER
from tinydistill.phases import PHASES
from tinydistill.resolving import Sizes, resolve
from tinydistill.students import StudentSpec, build_student
from tinydistill.teachers import CachedTeachers
from tinydistill.trainer import DistillationTrainer

BATCH = 32
PAIRS = {
    "base-4l": ("BERT-base", "tinybert-4l-312d"),
    "base-6l": ("BERT-base", "tinybert-6l-768d"),
    "minilm-3l": ("MiniLM", "init:layers=3"),
}
MEASURED = ("intermediate", "prediction", "evaluation")
DATA_DIR, MINILM = Path("../shared/data/glue"), Path("../shared/models/minilm-l6-h384-mlm")
_EVALUATION_STEPS = 8  # of the reference, which take as long as one of training
_STEPS_TO_WARM_UP = 8  # of ours: until what a step has freed is enough for the next one
EPOCHS = 3  # of the prediction phase


@dataclass(frozen=True)
class Case:
    """One measurement."""

    pair: str
    data: str
    phase: str
    precision: str  # of ours, or "int8": bf16 with a teacher in 8 bits; the reference is float32
    rows: int
    reference_steps: int
    data_dir: str
    minilm: str
    max_length: int = 128


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2 and RTE.")] = DATA_DIR,
    minilm: Annotated[Path, typer.Option(help="The small teacher, and the tokenizer of all.")] = MINILM,
    pairs: Annotated[str, typer.Option(help=f"Of {', '.join(PAIRS)}.")] = ",".join(PAIRS),
    data: Annotated[str, typer.Option(help="Tasks: SST-2 is short, RTE and MRPC are long.")] = "SST-2,RTE",
    phases: Annotated[str, typer.Option(help=f"Of {', '.join(MEASURED)}.")] = ",".join(MEASURED),
    precisions: Annotated[str, typer.Option(help="Of ours; int8: bf16, the teacher in 8 bits.")] = "bf16,float32",
    rows: Annotated[int, typer.Option(help="Training rows, drawn at random, that ours sees in an epoch.")] = 1_600,
    reference_steps: Annotated[int, typer.Option(help="Steps of the reference, each as long as any other.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/distillation.json"),
) -> None:
    """Time the plain reference and ours for each pair of models, task and phase."""
    check_inputs(data_dir=data_dir, minilm=minilm)
    needed = BATCH * max(reference_steps + 1, _STEPS_TO_WARM_UP)
    if rows < needed:
        raise UserError(f"--rows is {rows}; {needed} or more are needed")
    peaks = {"float32": matrix_peak(torch.float32), "bf16": matrix_peak(torch.bfloat16)}
    print(f"matrix products: {peaks['float32']:.0f} GFLOP/s in float32, {peaks['bf16']:.0f} in bf16")
    runs = []
    for pair in pairs.split(","):
        for name in data.split(","):
            for phase in phases.split(","):
                at = (rows, reference_steps, str(data_dir), str(minilm))
                plain = alone(measure_reference, Case(pair, name, phase, "float32", *at))
                for precision in precisions.split(","):
                    if (phase, precision) == ("evaluation", "int8"):  # of the student alone
                        continue
                    ours = alone(measure_ours, Case(pair, name, phase, precision, *at))
                    run = _compared(
                        f"{pair}, {name}, {phase}, {precision}", plain, ours, peaks.get(precision, peaks["bf16"])
                    )
                    runs.append(run)
                    print(json.dumps(run), flush=True)
    result = {
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "gflops_of_matrix_peak": {name: round(peak) for name, peak in peaks.items()},
        "runs": runs,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(_table(runs))
    print(f"written to {output}")


def _compared(name: str, plain: dict[str, Any], ours: dict[str, Any], peak: float) -> dict[str, Any]:
    speed = {who: m["rows"] / m["seconds"] for who, m in (("reference", plain), ("ours", ours))}
    by_processor = (ours["rows"] / ours["processor"]) / (plain["rows"] / plain["processor"])
    return {
        "run": name,
        "reference_rows_per_second": round(speed["reference"], 2),
        "rows_per_second": round(speed["ours"], 1),
        "times_the_reference": round(speed["ours"] / speed["reference"], 1),
        "times_the_reference_by_processor_seconds": round(by_processor, 1),
        "tokens_per_second": round(ours["tokens"] / ours["seconds"]),
        "share_of_matrix_peak": round(ours["gflop"] / ours["seconds"] / peak, 3),
        "reference_peak_memory_mb": plain["memory"],
        "peak_memory_mb": ours["memory"],
    }


def _table(runs: list[dict[str, Any]]) -> str:
    lines = ["| run | reference rows/s | ours rows/s | ratio | tokens/s | of peak | memory, reference / ours |"]
    lines.append("|---" * 7 + "|")
    lines += [
        f"| {r['run']} | {r['reference_rows_per_second']} | {r['rows_per_second']} | **{r['times_the_reference']}x** "
        f"| {r['tokens_per_second']:,} | {r['share_of_matrix_peak']:.0%} | {r['reference_peak_memory_mb']} / "
        f"{r['peak_memory_mb']} MB |"
        for r in runs
    ]
    return "\n".join(lines)


class Setup:
    """Teacher, student and data of a case."""

    def __init__(self, case: Case, split: str = "train"):
        self.case, self.task = case, get_task(case.data)
        self.precision = "bf16" if case.precision == "int8" else case.precision
        teacher_name, student_name = PAIRS[case.pair]
        self.tokenizer = AutoTokenizer.from_pretrained(case.minilm)
        torch.manual_seed(0)
        options = kind_of(self.task).head()
        if teacher_name == "MiniLM":
            self.teacher: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                case.minilm, dtype=torch.float32, **options
            )
        else:
            self.teacher = BertForSequenceClassification(BertConfig(**options))
        self.teacher.eval().requires_grad_(False)
        spec = StudentSpec.parse(student_name)
        self.maps = layer_map.choose("uniform", self.teacher.config.num_hidden_layers, spec.num_layers())
        self.student = build_student(spec, self.teacher, self.task, self.maps, seed=0)
        # A task's training rows drawn at random; its whole dev set.
        path = find_file(self.task, Path(case.data_dir), split)
        self.folder = tempfile.TemporaryDirectory()
        rows = kind_of(self.task).encode(
            open_table(self.task, path, split), self.tokenizer, Lengths(case.max_length), Path(self.folder.name)
        )
        chosen = np.random.default_rng(0).permutation(len(rows))[: case.rows if split == "train" else None]
        self.rows: Dataset = rows.select(chosen).flatten_indices()

    def gflop(self, lengths: np.ndarray, teacher: bool, student: int) -> float:
        """Of the blocks for the real tokens of these rows: the teacher forward once, the student `student` times that
        of a forward pass."""
        parts = ((self.teacher.config, int(teacher)), (self.student.config, student))
        return sum(times * _forward_gflop(config, lengths) for config, times in parts)


def _forward_gflop(config: Any, lengths: np.ndarray) -> float:
    """Multiply and add: four projections and two of the feed-forward network; scores and their sums of values."""
    width = config.hidden_size
    token = 2 * (4 * width**2 + 2 * width * config.intermediate_size)
    return config.num_hidden_layers * float((lengths * token + 4 * lengths.astype(float) ** 2 * width).sum()) / 1e9


def measure_reference(case: Case) -> dict[str, Any]:
    """Steps of the reference, or its evaluation of as many batches."""
    setup = Setup(case, "dev" if case.phase == "evaluation" else "train")
    reference = PlainReference(setup.teacher, setup.student, setup.maps)
    step = {"intermediate": reference.distil_layers, "prediction": reference.distil_outputs}.get(
        case.phase, reference.evaluate
    )
    batches = itertools.cycle(list(_in_order(setup)))
    steps = case.reference_steps * (_EVALUATION_STEPS if case.phase == "evaluation" else 1)
    for _ in range(1 + steps // _EVALUATION_STEPS):
        step(next(batches))
    clock = Clock()
    for _ in range(steps):
        step(next(batches))
    wall, processor = clock.read()
    count = steps * BATCH
    return {"rows": count, "seconds": wall, "processor": processor, "memory": peak_memory_mb()}


def _in_order(setup: Setup) -> Iterator[dict[str, Tensor]]:
    """Batches of the rows as they come, each padded to the maximum length."""
    collate = Collator(setup.tokenizer, setup.case.max_length)
    for start in range(0, len(setup.rows) - BATCH + 1, BATCH):
        yield collate(setup.rows.__getitems__(list(range(start, start + BATCH))))


def measure_ours(case: Case) -> dict[str, Any]:
    """An epoch of the intermediate phase, three of the prediction phase with the teacher's pass, or an evaluation."""
    keep_freed_memory()
    setup = Setup(case, "dev" if case.phase == "evaluation" else "train")
    lengths = column(setup.rows, "length")
    collate = Collator(setup.tokenizer)
    tokens = int(lengths.sum())
    if case.precision == "int8":  # found and compiled before the clock starts: 10 to 20 seconds once a machine
        starts = range(0, 8 * BATCH, BATCH)
        batches = [collate(setup.rows.__getitems__(list(range(start, start + BATCH)))) for start in starts]
        quantise(setup.teacher, largest_inputs(setup.teacher, batches, setup.precision), setup.precision)
    if case.phase == "evaluation":
        few = setup.rows.select(range(2 * BATCH))
        predict(setup.student, few, collate, setup.precision)
        clock = Clock()
        predict(setup.student, setup.rows, collate, setup.precision)
        times, flops = 1, setup.gflop(lengths, False, 1)
    elif case.phase == "intermediate":
        distiller = distiller_of(setup)
        train(setup, distiller, setup.rows, collate, epochs=1, max_steps=_STEPS_TO_WARM_UP)
        clock = Clock()
        train(setup, distiller, setup.rows, collate, epochs=1)
        times, flops = 1, setup.gflop(lengths, True, 3)
    else:
        distiller = distiller_of(setup)
        few = setup.rows.select(range(_STEPS_TO_WARM_UP * BATCH))
        train(setup, distiller, with_logits(setup, few, collate), collate, epochs=1)
        clock = Clock()
        rows = with_logits(setup, setup.rows, collate)
        train(setup, distiller, rows, collate, epochs=EPOCHS)
        times = EPOCHS
        flops = setup.gflop(lengths, True, 3 * EPOCHS)
    wall, processor = clock.read()
    return {
        "rows": len(setup.rows) * times,
        "seconds": wall,
        "processor": processor,
        "tokens": tokens * times,
        "gflop": flops,
        "memory": peak_memory_mb(),
    }


def distiller_of(setup: Setup) -> Distiller:
    """What the case's phase trains."""
    own, theirs = Sizes.of(setup.student.config), Sizes.of(setup.teacher.config)
    compared = resolve(PHASES[setup.case.phase].objectives, kind_of(setup.task).losses, own, {TEACHER: theirs})
    return Distiller(setup.student, compared, {TEACHER: theirs.width})


def with_logits(setup: Setup, rows: Dataset, collate: Collator) -> Dataset:
    """The rows and the teacher's outputs on them, as the prediction phase keeps them."""
    prepare_products(setup.teacher, setup.precision)
    outputs = predict(setup.teacher, rows, collate, setup.precision)
    return concatenate_datasets([rows, Dataset.from_dict({"teacher_logits": outputs})], axis=1)


def train(
    setup: Setup, distiller: Distiller, rows: Dataset, collate: Collator, epochs: int, max_steps: int = -1
) -> None:
    """As the phases do, without evaluations and checkpoints."""
    args = TrainingArguments(
        output_dir=setup.folder.name,
        num_train_epochs=epochs,
        max_steps=max_steps,
        per_device_train_batch_size=BATCH,
        learning_rate=5e-5,
        weight_decay=0.01,
        bf16=setup.precision == "bf16",
        use_cpu=True,
        eval_strategy="no",
        save_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
        logging_steps=50,
    )
    trainer = DistillationTrainer(
        distiller,
        setup.teacher if setup.case.phase == "intermediate" else CachedTeachers(),
        args=args,
        data_collator=collate,
        train_dataset=rows,
        eval_dataset=rows,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


if __name__ == "__main__":
    started = time.perf_counter()
    typer.run(main)
    print(f"{time.perf_counter() - started:.0f} s")

"""How fast distillation runs, against a plain reference in the same run.

The reference does what a straightforward script does: float32, every batch padded to the maximum length, eager
attention, all hidden states and scores of all layers of both models, the teacher run in every step. Ours is the
product's trainer with its defaults. Both see the same rows, batches of 32 and the same sizes of models; BERT-base's
weights are random, which takes as long. Each measurement runs in a process of its own, after a few steps to warm up.
Rows are examples of the training file, counted as often as they are trained on. The share of the matrix peak is the
arithmetic of the blocks for real tokens (no padding) a second, against a bare product at that precision. A row of
reading comprehension is a window. The prediction phase also tells what the teacher's outputs take on disk.

    python -m benchmarks.distillation
    python -m benchmarks.distillation --pairs base-4l --data SST-2 --phases intermediate,prediction
    python -m benchmarks.distillation --pairs minilm-3l --data SQuAD1.1 --phases intermediate,prediction
    python -m benchmarks.distillation --pairs e5-4l --phases intermediate,prediction
"""

import itertools
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, PreTrainedModel, PrinterCallback, TrainingArguments

from benchmarks.machine import Clock, alone, check_inputs, matrix_peak, peak_memory_mb
from benchmarks.plain_distillation import PlainReference
from glue_tasks import UserError, get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill import layer_map
from tinydistill.data import column
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu.int8 import largest_inputs, quantise
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.evaluation import predict
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Collate, Lengths
from tinydistill.objectives import TEACHER
from tinydistill.phases import PHASES
from tinydistill.resolving import Sizes, resolve
from tinydistill.students import StudentSpec, build_student
from tinydistill.teacher_logits import teacher_logits
from tinydistill.teachers import CachedTeachers
from tinydistill.trainer import DistillationTrainer

BATCH = 32


@dataclass(frozen=True)
class Pair:
    """A teacher, its student, and what they are measured on by default."""

    teacher: str  # BERT-base, of random weights; or "pretrained": the model itself with a fresh head
    student: str
    data: str = "SST-2,RTE"
    model: str = "minilm"  # the flag that names it: the small teacher, and the tokenizer of all


PAIRS = {
    "base-4l": Pair("BERT-base", "tinybert-4l-312d"),
    "base-6l": Pair("BERT-base", "tinybert-6l-768d"),
    "minilm-3l": Pair("pretrained", "init:layers=3", "SST-2,RTE,SQuAD1.1"),
    "e5-4l": Pair("pretrained", "init:layers=4", "MSRA", "e5"),
}
MEASURED = ("intermediate", "prediction", "evaluation")
DATA_DIR, MRC_DIR, NER_DIR = (Path("../shared/data", name) for name in ("glue", "mrc", "ner"))
MINILM, E5 = (Path("../shared/models", name) for name in ("minilm-l6-h384-mlm", "e5-small-l12-h384"))
_FOLDERS = {"spans": "mrc_dir", "tokens": "ner_dir"}  # kind of task -> the flag of its folder, if not data_dir
_MAX_LENGTH = 128  # or the task's own, where that is longer
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
    model: str
    max_length: int = _MAX_LENGTH


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2 and RTE.")] = DATA_DIR,
    mrc_dir: Annotated[Path, typer.Option(help="That of SQuAD1.1.")] = MRC_DIR,
    ner_dir: Annotated[Path, typer.Option(help="That of MSRA.")] = NER_DIR,
    minilm: Annotated[Path, typer.Option(help="The small teacher, and the tokenizer of all but e5-4l.")] = MINILM,
    e5: Annotated[Path, typer.Option(help="The teacher of e5-4l, which reads Chinese.")] = E5,
    pairs: Annotated[str, typer.Option(help=f"Of {', '.join(PAIRS)}.")] = ",".join(PAIRS),
    data: Annotated[
        str, typer.Option(help="Tasks: SST-2 is short, RTE and MRPC are long. By default each pair's.")
    ] = "",
    phases: Annotated[str, typer.Option(help=f"Of {', '.join(MEASURED)}.")] = ",".join(MEASURED),
    precisions: Annotated[str, typer.Option(help="Of ours; int8: bf16, the teacher in 8 bits.")] = "bf16,float32",
    rows: Annotated[int, typer.Option(help="Training rows, drawn at random, that ours sees in an epoch.")] = 1_600,
    reference_steps: Annotated[int, typer.Option(help="Steps of the reference, each as long as any other.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/distillation.json"),
) -> None:
    """Time the plain reference and ours for each pair of models, task and phase."""
    given = {"data_dir": data_dir, "mrc_dir": mrc_dir, "ner_dir": ner_dir, "minilm": minilm, "e5": e5}
    cases = []
    for pair in pairs.split(","):
        if pair not in PAIRS:
            raise UserError(f"--pairs has {pair!r}; it is of {', '.join(PAIRS)}")
        for task in map(get_task, (data or PAIRS[pair].data).split(",")):
            folder, model = _FOLDERS.get(task.kind, "data_dir"), PAIRS[pair].model
            check_inputs(**{folder: given[folder], model: given[model]})
            at = str(given[folder]), str(given[model]), max(task.max_length, _MAX_LENGTH)
            for phase in phases.split(","):
                cases.append(Case(pair, task.name, phase, "float32", rows, reference_steps, *at))
    needed = BATCH * max(reference_steps + 1, _STEPS_TO_WARM_UP)
    if rows < needed:
        raise UserError(f"--rows is {rows}; {needed} or more are needed")
    peaks = {"float32": matrix_peak(torch.float32), "bf16": matrix_peak(torch.bfloat16)}
    print(f"matrix products: {peaks['float32']:.0f} GFLOP/s in float32, {peaks['bf16']:.0f} in bf16")
    runs = []
    for case in cases:
        plain = alone(measure_reference, case)
        for precision in precisions.split(","):
            if (case.phase, precision) == ("evaluation", "int8"):  # of the student alone
                continue
            ours = alone(measure_ours, replace(case, precision=precision))
            name = f"{case.pair}, {case.data}, {case.phase}, {precision}"
            runs.append(_compared(name, plain, ours, peaks.get(precision, peaks["bf16"])))
            print(json.dumps(runs[-1]), flush=True)
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
    } | ({"teacher_outputs_kb_per_1000_rows": round(ours["kept"], 1)} if "kept" in ours else {})


def _table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| run | reference rows/s | ours rows/s | ratio | tokens/s | of peak | memory, reference / ours "
        "| outputs of 1,000 rows |"
    ]
    lines.append("|---" * 8 + "|")
    lines += [
        f"| {r['run']} | {r['reference_rows_per_second']} | {r['rows_per_second']} | **{r['times_the_reference']}x** "
        f"| {r['tokens_per_second']:,} | {r['share_of_matrix_peak']:.0%} | {r['reference_peak_memory_mb']} / "
        f"{r['peak_memory_mb']} MB | {f'{kept} KB' if (kept := r.get('teacher_outputs_kb_per_1000_rows')) else ''} |"
        for r in runs
    ]
    return "\n".join(lines)


class Setup:
    """Teacher, student and data of a case."""

    def __init__(self, case: Case):
        self.case, self.task = case, get_task(case.data)
        self.kind, pair = kind_of(self.task), PAIRS[case.pair]
        self.precision = "bf16" if case.precision == "int8" else case.precision
        self.tokenizer = AutoTokenizer.from_pretrained(case.model)
        torch.manual_seed(0)
        options, auto_model = self.kind.head(), self.kind.auto_model
        if pair.teacher == "pretrained":
            self.teacher: PreTrainedModel = auto_model.from_pretrained(case.model, dtype=torch.float32, **options)
        else:
            self.teacher = auto_model.from_config(BertConfig(**options))
        self.teacher.eval().requires_grad_(False)
        spec = StudentSpec.parse(pair.student)
        self.maps = layer_map.choose("uniform", self.teacher.config.num_hidden_layers, spec.num_layers())
        self.student = build_student(spec, self.teacher, self.task, self.maps, seed=0)
        # A task's training rows drawn at random, or as many of its dev set.
        split = self.task.dev_splits[0] if case.phase == "evaluation" else "train"
        table = open_table(self.task, find_file(self.task, Path(case.data_dir), split), split)
        self.folder = tempfile.TemporaryDirectory()
        lengths, cache = Lengths(case.max_length), Path(self.folder.name)
        rows = self.kind.encode(table, self.tokenizer, lengths, cache, for_training=split == "train")
        chosen = np.random.default_rng(0).permutation(len(rows))[: case.rows]
        self.rows: Dataset = rows.select(chosen).flatten_indices()

    def collate(self, padded: bool = False) -> Collate:
        """What makes a batch, padded to the maximum length or to the longest of it."""
        return self.kind.collate(self.tokenizer, self.case.max_length if padded else None)

    def gflop(self, lengths: np.ndarray, teacher: bool, student: int) -> float:
        """Of the blocks for the real tokens of these rows: the teacher forward once, the student `student` times that
        of a forward pass."""
        parts = ((self.teacher.config, int(teacher)), (self.student.config, student))
        return sum(times * forward_gflop(config, lengths) for config, times in parts)


def forward_gflop(config: Any, lengths: np.ndarray) -> float:
    """Multiply and add: four projections and two of the feed-forward network; scores and their sums of values."""
    width = config.hidden_size
    token = 2 * (4 * width**2 + 2 * width * config.intermediate_size)
    return config.num_hidden_layers * float((lengths * token + 4 * lengths.astype(float) ** 2 * width).sum()) / 1e9


def measure_reference(case: Case) -> dict[str, Any]:
    """Steps of the reference, or its evaluation of as many batches."""
    setup = Setup(case)
    reference = PlainReference(setup.teacher, setup.student, setup.maps, setup.kind.outputs)
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
    collate = setup.collate(padded=True)
    for start in range(0, len(setup.rows) - BATCH + 1, BATCH):
        yield collate(setup.rows.__getitems__(list(range(start, start + BATCH))))


def measure_ours(case: Case) -> dict[str, Any]:
    """An epoch of the intermediate phase, three of the prediction phase with the teacher's pass, or an evaluation."""
    keep_freed_memory()
    setup = Setup(case)
    lengths = column(setup.rows, "length")
    collate, kept = setup.collate(), setup.kind.outputs
    tokens, found = int(lengths.sum()), {}
    if case.precision == "int8":  # found and compiled before the clock starts: 10 to 20 seconds once a machine
        starts = range(0, 8 * BATCH, BATCH)
        batches = [collate(setup.rows.__getitems__(list(range(start, start + BATCH)))) for start in starts]
        quantise(setup.teacher, largest_inputs(setup.teacher, batches, setup.precision), setup.precision)
    if case.phase == "evaluation":
        few = setup.rows.select(range(2 * BATCH))
        predict(setup.student, few, collate, setup.precision, kept=kept)
        clock = Clock()
        predict(setup.student, setup.rows, collate, setup.precision, kept=kept)
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
        times, found = EPOCHS, {"kept": _kilobytes_of_1000(rows)}
        flops = setup.gflop(lengths, True, 3 * EPOCHS)
    wall, processor = clock.read()
    return {
        "rows": len(setup.rows) * times,
        "seconds": wall,
        "processor": processor,
        "tokens": tokens * times,
        "gflop": flops,
        "memory": peak_memory_mb(),
        **found,
    }


def _kilobytes_of_1000(rows: Dataset) -> float:
    """What the teacher's outputs on 1,000 of these rows take on disk, which is the last of their files."""
    return Path(rows.cache_files[-1]["filename"]).stat().st_size / len(rows)


def distiller_of(setup: Setup) -> Distiller:
    """What the case's phase trains."""
    own, theirs = Sizes.of(setup.student.config), Sizes.of(setup.teacher.config)
    compared = resolve(PHASES[setup.case.phase].objectives, setup.kind.losses, own, {TEACHER: theirs})
    return Distiller(setup.student, compared, {TEACHER: theirs.width}, setup.kind.outputs)


def with_logits(setup: Setup, rows: Dataset, collate: Collate) -> Dataset:
    """The rows and the teacher's outputs on them, as the prediction phase keeps them on disk."""
    prepare_products(setup.teacher, setup.precision)
    cache = Path(tempfile.mkdtemp(dir=setup.folder.name))  # or those of a few rows would be taken for those of all
    outputs = teacher_logits(setup.teacher, TEACHER, rows, collate, setup.precision, cache, setup.kind.outputs)
    return concatenate_datasets([rows, outputs], axis=1)


def train(
    setup: Setup, distiller: Distiller, rows: Dataset, collate: Collate, epochs: int, max_steps: int = -1
) -> None:
    """As the phases do, without evaluations and checkpoints."""
    teacher = setup.teacher if setup.case.phase == "intermediate" else CachedTeachers()
    trainer = DistillationTrainer(
        distiller,
        teacher,
        args=arguments(setup.folder.name, setup.precision, BATCH, epochs, max_steps),
        data_collator=collate,
        train_dataset=rows,
        eval_dataset=rows,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def arguments(folder: str, precision: str, batch: int, epochs: int, max_steps: int = -1) -> TrainingArguments:
    """Those of the phases, without evaluations and checkpoints."""
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        max_steps=max_steps,
        per_device_train_batch_size=batch,
        learning_rate=5e-5,
        weight_decay=0.01,
        bf16=precision == "bf16",
        use_cpu=True,
        eval_strategy="no",
        save_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
        logging_steps=50,
    )


if __name__ == "__main__":
    started = time.perf_counter()
    typer.run(main)
    print(f"{time.perf_counter() - started:.0f} s")

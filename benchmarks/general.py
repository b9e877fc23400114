"""How fast general distillation on plain text runs, against a plain loop in the same run.

BERT-base teaches a student of 4 layers, 312 wide; their weights are random, which takes as long as any. The plain loop
is float32 with eager attention, the teacher run in every step, all hidden states and scores of both models kept, every
row padded to the maximum length; where outputs are compared, logits of the whole vocabulary at all pieces. Its rows are
either lines of the text, one each, as a script reads them that does not pack (`lines`), or the same packed rows as ours
(`packed`). Ours is the product's trainer and its corpus. Tokens are real ones, without padding. A step has as many
places at each length: 32 rows of 128 or 8 of 512. Each measurement runs in a process of its own, after a step or more
to warm up.

    python -m benchmarks.general
    python -m benchmarks.general --lengths 128 --objectives general-minirbt --precisions float32
"""

import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, PrinterCallback

from benchmarks.distillation import arguments, forward_gflop
from benchmarks.machine import Clock, alone, check_inputs, matrix_peak, peak_memory_mb
from benchmarks.plain_distillation import PlainReference
from glue_tasks import UserError, get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill import layer_map
from tinydistill.corpus.data import load_text
from tinydistill.data import COUNTED, column
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.kinds import kind_of
from tinydistill.objectives import TEACHER
from tinydistill.options import Options
from tinydistill.presets import PRESETS
from tinydistill.resolving import Sizes, resolve
from tinydistill.students import StudentSpec, build_student
from tinydistill.text_task import text_task
from tinydistill.trainer import DistillationTrainer

STUDENT = "tinybert-4l-312d"
PLACES = 32 * 128  # of a step
_STEPS_TO_WARM_UP = 4
REFERENCES = ("lines", "packed")
_OUTPUTS = "general-minirbt"


@dataclass(frozen=True)
class Case:
    """One measurement."""

    objectives: str
    length: int
    text: str
    model: str  # whose tokenizer reads the text
    steps: int
    precision: str = "float32"
    rows: str = "packed"  # of the reference

    @property
    def batch(self) -> int:
        return PLACES // self.length


@exit_on_user_error(resumable=False)
def main(
    mrc_dir: Annotated[Path, typer.Option(help="The folder of SQuAD1.1, whose passages are the text.")] = Path(
        "../shared/data/mrc"
    ),
    model: Annotated[Path, typer.Option(help="Model whose tokenizer reads the text.")] = Path(
        "../shared/models/minilm-l6-h384-mlm"
    ),
    lengths: Annotated[str, typer.Option(help="Pieces of a row.")] = "128,512",
    objectives: Annotated[str, typer.Option(help=f"general-tinybert, {_OUTPUTS}.")] = f"general-tinybert,{_OUTPUTS}",
    precisions: Annotated[str, typer.Option(help="Of ours.")] = "bf16,float32",
    steps: Annotated[int, typer.Option(help="Steps of ours; of the plain loop a quarter.")] = 12,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/general.json"),
) -> None:
    """Time the plain loop and ours at each length."""
    check_inputs(mrc_dir=mrc_dir, model=model)
    if unknown := [name for name in objectives.split(",") if name not in ("general-tinybert", _OUTPUTS)]:
        raise UserError(f"--objectives has {unknown[0]!r}; it is of general-tinybert, {_OUTPUTS}")
    peaks = {"float32": matrix_peak(torch.float32), "bf16": matrix_peak(torch.bfloat16)}
    print(f"matrix products: {peaks['float32']:.0f} GFLOP/s in float32, {peaks['bf16']:.0f} in bf16")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        text = _write_text(mrc_dir, model, Path(folder) / "text.txt", steps)
        for length, name in itertools.product(map(int, lengths.split(",")), objectives.split(",")):
            case = Case(name, length, str(text), str(model), steps)
            plain = {rows: alone(measure_reference, replace(case, rows=rows)) for rows in REFERENCES}
            for precision in precisions.split(","):
                ours = alone(measure_ours, replace(case, precision=precision))
                runs.append(_compared(f"{name}, {length}, {precision}", plain, ours, peaks[precision]))
                print(json.dumps(runs[-1]), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {"threads": torch.get_num_threads(), "gflops_of_matrix_peak": peaks, "runs": runs}
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(_table(runs))
    print(f"written to {output}")


def _write_text(mrc_dir: Path, model: Path, path: Path, steps: int) -> Path:
    """Passages of SQuAD, each sentence a line, as many as fill the steps and a tenth that is held out."""
    task, tokenizer = get_task("SQuAD1.1"), AutoTokenizer.from_pretrained(model)
    table = open_table(task, find_file(task, mrc_dir, "train"), "train")
    passages = dict.fromkeys(row.texts[1] for row in table)
    wanted = 1.1 * steps * PLACES
    with open(path, "w", encoding="utf-8") as file:
        for passage in passages:
            lines = passage.replace("\n", " ").replace(". ", ".\n")
            file.write(lines + "\n\n")
            wanted -= len(tokenizer(passage, add_special_tokens=False)["input_ids"])
            if wanted < 0:
                return path
    raise UserError(f"the text is too short for {steps} steps; take fewer with --steps")


class Setup:
    """Teacher and student of a case."""

    def __init__(self, case: Case):
        self.case, self.task = case, text_task(case.objectives == _OUTPUTS)
        self.kind = kind_of(self.task)
        self.tokenizer = AutoTokenizer.from_pretrained(case.model)
        torch.manual_seed(0)
        self.teacher = self.kind.auto_model.from_config(BertConfig(vocab_size=len(self.tokenizer)))
        self.teacher.eval().requires_grad_(False)
        spec = StudentSpec.parse(STUDENT)
        self.maps = layer_map.choose("uniform", self.teacher.config.num_hidden_layers, spec.num_layers())
        self.student = build_student(spec, self.teacher, self.task, self.maps, seed=0)
        self.folder = tempfile.TemporaryDirectory()
        options = Options(
            corpus=(case.text,),
            output_dir=self.folder.name,
            max_length=case.length,
            masking="word" if case.objectives == _OUTPUTS else "none",
        )
        self.data = load_text(options, self.tokenizer, self.kind)

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Of the plain loop, padded to the maximum length, with the pieces that count where outputs are compared."""
        case, draw = self.case, torch.Generator().manual_seed(0)
        if case.rows == "packed":
            rows = self.data.train
            texts: list[Any] = [rows[i]["input_ids"].tolist() for i in range(len(rows))]
        else:
            lines = filter(None, Path(case.text).read_text(encoding="utf-8").splitlines())
            texts = self.tokenizer(list(lines), truncation=True, max_length=case.length)["input_ids"]
        for start in range(0, len(texts) - case.batch + 1, case.batch):
            given = {"input_ids": texts[start : start + case.batch]}
            batch = dict(self.tokenizer.pad(given, padding="max_length", max_length=case.length, return_tensors="pt"))
            counted = torch.rand(batch["input_ids"].shape, generator=draw) < 0.15
            yield {**batch, COUNTED: counted & batch["attention_mask"].bool()}


def measure_reference(case: Case) -> dict[str, Any]:
    """A quarter of the steps, after one."""
    setup = Setup(case)
    plain = PlainReference(setup.teacher, setup.student, setup.maps, setup.kind.outputs)
    step = plain.distil_pieces if case.objectives == _OUTPUTS else plain.distil_layers
    batches = setup.batches()
    step(next(batches))
    chosen = list(itertools.islice(batches, max(case.steps // 4, 1)))
    clock = Clock()
    for batch in chosen:
        step(batch)
    wall, processor = clock.read()
    tokens = sum(int(batch["attention_mask"].sum()) for batch in chosen)
    return {"tokens": tokens, "seconds": wall, "processor": processor, "memory": peak_memory_mb()}


def measure_ours(case: Case) -> dict[str, Any]:
    """An epoch over the text, with the product's trainer."""
    keep_freed_memory()
    setup = Setup(case)
    own, theirs = Sizes.of(setup.student.config), Sizes.of(setup.teacher.config)
    compared = resolve(PRESETS[case.objectives].objectives, setup.kind.losses, own, {TEACHER: theirs})
    distiller = Distiller(setup.student, compared, {TEACHER: theirs.width}, setup.kind.outputs)
    _train(setup, distiller, _STEPS_TO_WARM_UP)
    lengths = np.asarray(column(setup.data.train, "length"), dtype=np.int64)
    clock = Clock()
    _train(setup, distiller)
    wall, processor = clock.read()
    forward = {who: forward_gflop(model.config, lengths) for who, model in _models(setup)}
    return {
        "tokens": int(lengths.sum()),
        "seconds": wall,
        "processor": processor,
        "gflop": forward["teacher"] + 3 * forward["student"],  # of the blocks
        "memory": peak_memory_mb(),
        "filled": float(lengths.mean() / case.length),
    }


def _models(setup: Setup) -> list[tuple[str, Any]]:
    return [("teacher", setup.teacher), ("student", setup.student)]


def _train(setup: Setup, distiller: Distiller, max_steps: int = -1) -> None:
    case = setup.case
    trainer = DistillationTrainer(
        distiller,
        setup.teacher,
        args=arguments(setup.folder.name, case.precision, case.batch, 1, max_steps),
        data_collator=setup.data.collate,
        train_dataset=setup.data.train,
        eval_dataset=setup.data.main_dev,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _compared(name: str, plain: dict[str, dict[str, Any]], ours: dict[str, Any], peak: float) -> dict[str, Any]:
    speed = {who: m["tokens"] / m["seconds"] for who, m in (*plain.items(), ("ours", ours))}
    by_processor = {who: m["tokens"] / m["processor"] for who, m in (*plain.items(), ("ours", ours))}
    found: dict[str, Any] = {"run": name, "tokens_per_second": round(speed["ours"])}
    for rows in plain:
        found[f"{rows}_tokens_per_second"] = round(speed[rows], 1)
        found[f"times_{rows}"] = round(speed["ours"] / speed[rows], 2)
        found[f"times_{rows}_by_processor_seconds"] = round(by_processor["ours"] / by_processor[rows], 2)
        found[f"{rows}_peak_memory_mb"] = plain[rows]["memory"]
    found["share_of_matrix_peak"] = round(ours["gflop"] / ours["seconds"] / peak, 3)
    return found | {"peak_memory_mb": ours["memory"], "share_of_row_filled": round(ours["filled"], 3)}


def _table(runs: list[dict[str, Any]]) -> str:
    lines = ["| objectives, length, precision | tokens/s | of peak | times lines, padded | times packed rows, padded "
             "| memory: lines / packed / ours |", "|---" * 6 + "|"]  # fmt: skip
    lines += [
        f"| {r['run']} | {r['tokens_per_second']:,} | {r['share_of_matrix_peak']:.0%} | **{r['times_lines']}x** "
        f"| **{r['times_packed']}x** | {r['lines_peak_memory_mb']} / {r['packed_peak_memory_mb']} / "
        f"{r['peak_memory_mb']} MB |"
        for r in runs
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    started = time.perf_counter()
    typer.run(main)
    print(f"{time.perf_counter() - started:.0f} s")

"""Ours against TextBrewer 0.2.1 on the same models and sentences: its recipe for a student of 4 layers.

Temperature 8, L4t_hidden_mse and L4_hidden_smmd, in float32, batches of 32, a teacher of BERT-base's size and a student
of tinybert-4l-312d's. TextBrewer comes from PyPI into a folder of its own, with what it imports besides PyTorch. Its
usual batches are padded to the maximum length. Measured are seconds from one batch to the next, without saving, in
processes of their own that take turns; the median of the turns counts. The share of the matrix peak is the arithmetic
of the blocks, padding included, against a bare product in the same run.

    python -m benchmarks.textbrewer
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments

from benchmarks.distillation import BATCH, DATA_DIR, MINILM, Case, Setup
from benchmarks.machine import alone, check_inputs, matrix_peak, peak_memory_mb
from glue_tasks.errors import exit_on_user_error
from tinydistill.data import Collator
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu.memory import keep_freed_memory
from tinydistill.kinds import kind_of
from tinydistill.objectives import TEACHER
from tinydistill.presets import preset
from tinydistill.resolving import Sizes, resolve
from tinydistill.trainer import DistillationTrainer

_VERSION = "0.2.1.post1"
_WARM_UP = 2  # steps
_SITE = "TINYDISTILL_TEXTBREWER"  # names the folder to the processes of the measurements
WAYS = ("TextBrewer, padded to 128", "ours, padded to 128", "ours")
_LAYERS = tuple((i, 3 * i) for i in range(5))  # of the student, and of the teacher


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2.")] = DATA_DIR,
    minilm: Annotated[Path, typer.Option(help="Whose tokenizer is used.")] = MINILM,
    steps: Annotated[int, typer.Option(help="Steps of padded batches; of ours there are eight times as many.")] = 5,
    rounds: Annotated[int, typer.Option(help="Turns; the median counts.")] = 3,
    precision: Annotated[str, typer.Option(help="Of ours without padding: float32 or bf16.")] = "float32",
) -> None:
    """Time both, and print the ratios."""
    check_inputs(data_dir=data_dir, minilm=minilm)
    with tempfile.TemporaryDirectory() as site:
        _install(Path(site))
        os.environ[_SITE] = site
        peak = matrix_peak(torch.float32)
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                case = Case("base-4l", "SST-2", way, "float32", 64 * BATCH, steps, str(data_dir), str(minilm))
                if way == "ours":
                    case = replace(case, precision=precision, reference_steps=8 * steps)
                measured = alone(_theirs if way.startswith("TextBrewer") else _ours, case)
                found[way].append(measured)
                print(json.dumps({"way": way, **measured}), flush=True)
    by_wall, by_processor = (
        {way: statistics.median(each[unit] for each in runs) for way, runs in found.items()}
        for unit in ("rows_per_second", "rows_per_processor_second")
    )
    print(f"matrix product: {peak:.0f} GFLOP/s in float32, {torch.get_num_threads()} threads")
    print("| | rows/s | times TextBrewer's | by processor seconds | of peak | memory |")
    print("|---|---|---|---|---|---|")
    for way, runs in found.items():
        share = statistics.median(each["gflops"] for each in runs) / peak
        memory = max(each["memory"] for each in runs)
        ratios = [f"{speed[way] / speed[WAYS[0]]:.2f}x" for speed in (by_wall, by_processor)]
        print(f"| {way} | {by_wall[way]:.2f} | {' | '.join(ratios)} | {share:.0%} | {memory} MB |")


def _install(site: Path) -> None:
    """TextBrewer and what it imports, beside the packages of this environment."""
    print(f"installing TextBrewer {_VERSION} into a folder of its own", flush=True)
    packages = [f"textbrewer=={_VERSION}", "tensorboardX", "protobuf"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), *packages], check=True
    )


class _Stamps:
    """When each batch was asked for."""

    def __init__(self, collate: Callable[[list], dict[str, Tensor]]):
        self.collate = collate
        self.times: list[tuple[float, float]] = []  # wall and processor seconds
        self.pieces: list[np.ndarray] = []

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.times.append((time.perf_counter(), time.process_time()))
        batch = self.collate(examples)
        self.pieces.append(np.full(len(examples), batch["input_ids"].shape[1]))
        return batch

    def measured(self, setup: Setup) -> dict[str, Any]:
        seconds, processor = (last - first for first, last in zip(self.times[_WARM_UP], self.times[-1], strict=True))
        lengths = np.concatenate(self.pieces[_WARM_UP:-1])
        return {
            "rows_per_second": len(lengths) / seconds,
            "rows_per_processor_second": len(lengths) / processor,
            "gflops": setup.gflop(lengths, True, 3) / seconds,
            "memory": peak_memory_mb(),
        }


def _theirs(case: Case) -> dict[str, Any]:
    """TextBrewer's GeneralDistiller."""
    sys.path.insert(0, os.environ[_SITE])
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig  # type: ignore[import-not-found]

    setup = Setup(case)
    collate = _Stamps(Collator(setup.tokenizer, case.max_length))

    def adaptor(batch: dict[str, Tensor], outputs: Any) -> dict[str, Any]:
        mask = batch["attention_mask"]
        return {"logits": outputs.logits, "hidden": outputs.hidden_states, "inputs_mask": mask}

    linear = ["linear", setup.student.config.hidden_size, setup.teacher.config.hidden_size]
    matches: list[dict[str, Any]] = [
        {"layer_S": i, "layer_T": j, "feature": "hidden", "loss": "hidden_mse", "weight": 1, "proj": linear}
        for i, j in _LAYERS
    ]
    matches += [
        {"layer_S": [i, i], "layer_T": [j, j], "feature": "hidden", "loss": "mmd", "weight": 1} for i, j in _LAYERS
    ]
    steps = case.reference_steps + _WARM_UP + 1
    distiller = GeneralDistiller(
        train_config=TrainingConfig(output_dir=setup.folder.name, device="cpu", ckpt_steps=steps),
        distill_config=DistillationConfig(temperature=8, intermediate_matches=matches),
        model_T=setup.teacher,
        model_S=setup.student,
        adaptor_T=adaptor,
        adaptor_S=adaptor,
    )
    batches = _Loader(setup, collate)
    optimizer = torch.optim.AdamW(setup.student.parameters(), lr=1e-4)
    with distiller:
        distiller.train(optimizer, batches, num_steps=steps, max_grad_norm=1.0, output_hidden_states=True)
    return collate.measured(setup)


class _Loader:
    """Batches of the rows as they come, without labels, as often as they are asked for."""

    def __init__(self, setup: Setup, collate: _Stamps):
        self.setup, self.collate = setup, collate

    def __len__(self) -> int:
        return len(self.setup.rows) // BATCH

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(self) * BATCH, BATCH):
            batch = self.collate(self.setup.rows.__getitems__(list(range(start, start + BATCH))))
            yield {name: values for name, values in batch.items() if name not in ("labels", "cut", "length")}


def _ours(case: Case) -> dict[str, Any]:
    """The product's trainer with the preset of the same name."""
    keep_freed_memory()
    setup = Setup(case)
    collate = _Stamps(Collator(setup.tokenizer, case.max_length if "padded" in case.phase else None))
    own, theirs = Sizes.of(setup.student.config), Sizes.of(setup.teacher.config)
    objectives = resolve(preset("textbrewer-l4t"), kind_of(setup.task).losses, own, {TEACHER: theirs})
    arguments = TrainingArguments(
        output_dir=setup.folder.name,
        max_steps=case.reference_steps + _WARM_UP + 1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        bf16=case.precision == "bf16",
        use_cpu=True,
        eval_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )
    trainer = DistillationTrainer(
        Distiller(setup.student, objectives, {TEACHER: theirs.width}),
        setup.teacher,
        args=arguments,
        data_collator=collate,
        train_dataset=setup.rows,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return collate.measured(setup)


if __name__ == "__main__":
    typer.run(main)

"""How a start and its memory grow with the training file, from 20,000 to 2 million rows.

The file repeats SST-2's training rows. Both phases run through the command line, 50 steps each, on models of two tiny
layers, so that what is left is the data's: from the command to the first step, for a first start and for a second one
with the same cache; and the most memory beyond the imported program's. The first start of the prediction phase has the
teacher compute its logits on every row. Then the parts alone: tokenising, opening again, the order of an epoch, and
batches of 32 in that order, fetched and collated.

The reference does what a straightforward script does: each row tokenised by itself in each start and kept in lists, and
batches padded by the tokenizer. It is left out beyond 200,000 rows.

    python -m benchmarks.training_data
    python -m benchmarks.training_data --rows 20000,200000
"""

import contextlib
import io
import json
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from benchmarks.machine import MemoryWatch, alone, check_inputs
from glue_tasks import get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill.data import Collator, LengthBucketSampler, column
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Lengths

BATCH, BATCHES, STEPS, MAX_LENGTH = 32, 500, 50, 64
MOST_OF_THE_REFERENCE = 200_000  # rows


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2.")] = Path("../shared/data/glue"),
    tokenizer: Annotated[Path, typer.Option(help="The model whose tokenizer is used.")] = Path(
        "../shared/models/minilm-l6-h384-mlm"
    ),
    rows: Annotated[str, typer.Option(help="Rows of the training files.")] = "20000,200000,2000000",
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/training_data.json"),
) -> None:
    """Measure both phases' starts and memory, and the parts, at each size."""
    check_inputs(data_dir=data_dir, tokenizer=tokenizer)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        _write_model(tokenizer, model)
        for count in map(int, rows.split(",")):
            data, out = Path(folder) / "data", Path(folder) / "out"
            file = _write_rows(data_dir, data, count)
            run: dict[str, Any] = {"rows": count, "file_mb": round(file.stat().st_size / 1e6, 1)}
            run["tokenised"] = alone(measure_tokenising, file, model, Path(folder) / "cache")
            for phase in ("intermediate", "prediction"):
                for start in ("first", "second"):
                    shutil.rmtree(out / phase, ignore_errors=True)
                    run[f"{phase}_{start}"] = alone(measure_phase, phase, data, model, out)
                shutil.rmtree(out)  # each phase's first start finds no cache
            run["parts"] = alone(measure_parts, file, model, Path(folder) / "cache")
            if count <= MOST_OF_THE_REFERENCE:
                run["reference"] = alone(measure_reference, file, model)
            runs.append(run)
            print(json.dumps(run), flush=True)
            shutil.rmtree(Path(folder) / "cache")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")
    print(_tables(runs))
    print(f"written to {output}")


def _write_model(tokenizer: Path, folder: Path) -> None:
    """A model of two tiny layers with random weights, and the tokenizer beside it."""
    pieces = AutoTokenizer.from_pretrained(tokenizer)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces), **sizes, **kind_of(get_task("SST-2")).head())
    BertForSequenceClassification(config).save_pretrained(folder)
    pieces.save_pretrained(folder)


def _write_rows(source: Path, folder: Path, count: int) -> Path:
    """SST-2 with its training rows repeated until they are so many; returns the training file."""
    task = get_task("SST-2")
    own = folder / "SST-2"
    own.mkdir(parents=True, exist_ok=True)
    shutil.copy(find_file(task, source, "dev"), own / "dev.tsv")
    header, *lines = find_file(task, source, "train").read_text(encoding="utf-8").splitlines(keepends=True)
    with open(own / "train.tsv", "w", encoding="utf-8") as file:
        file.write(header)
        file.writelines(islice(cycle(lines), count))
    return own / "train.tsv"


def measure_phase(phase: str, data: Path, model: Path, out: Path) -> dict[str, Any]:
    """Fifty steps of a phase through the command line."""
    import run_tinybert
    from tinydistill import phase_run, phases  # noqa: F401 - before the clock starts

    class Watched(phase_run.Progress):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            super().on_step_end(args, state, control, **kwargs)
            if state.global_step == 1:
                measured["seconds_to_the_first_step"] = round(time.perf_counter() - began, 2)

    measured: dict[str, Any] = {}
    phase_run.Progress = Watched  # type: ignore[misc]
    where = ["--phase", phase, "--task", "SST-2", "--data-dir", str(data), "--output-dir", str(out)]
    said = io.StringIO()
    models = ["--teacher", str(model), "--student", "init:layers=1", "--allow-weak-teacher"]
    with MemoryWatch() as memory, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        began = time.perf_counter()
        try:
            run_tinybert.main([*where, *models, "--max-length", str(MAX_LENGTH), "--max-steps", str(STEPS)])
        except SystemExit:
            raise RuntimeError(said.getvalue()) from None
    return {**measured, "anonymous_mb": memory.anonymous_mb, "mapped_mb": memory.mapped_mb}


def _tokenizer(model: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer(["it starts its threads"] * 10)
    return tokenizer


def measure_tokenising(file: Path, model: Path, cache: Path) -> dict[str, Any]:
    """To the disk, of a file that was not seen before."""
    tokenizer, table = _tokenizer(model), open_table(get_task("SST-2"), file)
    with MemoryWatch() as memory:
        began = time.perf_counter()
        data = kind_of(table.task).encode(table, tokenizer, Lengths(MAX_LENGTH), cache)
        seconds = time.perf_counter() - began
    return {
        "seconds": round(seconds, 2),
        "rows_per_second": round(len(data) / seconds),
        "arrow_mb": round(Path(data.cache_files[0]["filename"]).stat().st_size / 1e6, 1),
        "anonymous_mb": memory.anonymous_mb,
        "mapped_mb": memory.mapped_mb,
    }


def measure_parts(file: Path, model: Path, cache: Path) -> dict[str, Any]:
    """Opened again, an order, and batches."""
    tokenizer, table = _tokenizer(model), open_table(get_task("SST-2"), file)
    collate = Collator(tokenizer)
    seconds = []
    with MemoryWatch() as memory:
        seconds.append(time.perf_counter())
        data = kind_of(table.task).encode(table, tokenizer, Lengths(MAX_LENGTH), cache)
        lengths = column(data, "length")
        seconds.append(time.perf_counter())
        order = LengthBucketSampler(lengths, BATCH, seed=42).order()
        seconds.append(time.perf_counter())
        for start in range(0, BATCHES * BATCH, BATCH):
            collate(data.__getitems__(order[start : start + BATCH].tolist()))
        seconds.append(time.perf_counter())
    opened, ordered, batches = np.diff(seconds).tolist()
    return {
        "seconds_to_open_again": round(opened, 3),
        "milliseconds_for_an_order": round(1e3 * ordered, 1),
        "milliseconds_a_batch": round(1e3 * batches / BATCHES, 3),
        "anonymous_mb": memory.anonymous_mb,
        "mapped_mb": memory.mapped_mb,
    }


def measure_reference(file: Path, model: Path) -> dict[str, Any]:
    """Each row by itself into lists, an order at random, and batches padded by the tokenizer."""
    tokenizer, table = _tokenizer(model), open_table(get_task("SST-2"), file)
    with MemoryWatch() as memory:
        began = time.perf_counter()
        examples = [
            {**tokenizer(*row.texts, truncation=True, max_length=MAX_LENGTH), "labels": row.label} for row in table
        ]
        seconds = time.perf_counter() - began
        order = np.random.default_rng(0).permutation(len(examples)).tolist()
        began = time.perf_counter()
        for start in range(0, BATCHES * BATCH, BATCH):
            tokenizer.pad([examples[i] for i in order[start : start + BATCH]], return_tensors="pt")
        batches = time.perf_counter() - began
    return {
        "seconds": round(seconds, 2),
        "milliseconds_a_batch": round(1e3 * batches / BATCHES, 3),
        "anonymous_mb": memory.anonymous_mb,
    }


def _tables(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| rows | file / Arrow | tokenised | opened again | order of an epoch | a batch | reference: each start "
        "| a batch | memory, ours / reference |",
        "|---" * 9 + "|",
    ]
    for r in runs:
        tokenised, parts, plain = r["tokenised"], r["parts"], r.get("reference")
        own = max(tokenised["anonymous_mb"], parts["anonymous_mb"])
        against = ["", "", f"{own} MB"]
        if plain:
            first, second = (plain["seconds"] / x for x in (tokenised["seconds"], parts["seconds_to_open_again"]))
            against = [f"{plain['seconds']} s: **{first:.1f}x** first, **{second:.0f}x** second"]
            against.append(f"{plain['milliseconds_a_batch']} ms")
            against.append(f"{own} / {plain['anonymous_mb']} MB")
        lines.append(
            f"| {r['rows']:,} | {r['file_mb']} / {tokenised['arrow_mb']} MB | {tokenised['seconds']} s, "
            f"{tokenised['rows_per_second']:,} rows/s | {parts['seconds_to_open_again']} s "
            f"| {parts['milliseconds_for_an_order']} ms | {parts['milliseconds_a_batch']} ms | {' | '.join(against)} |"
        )
    lines += ["", "| rows | phase | to the first step, first / second start | most memory: own | of mapped files |"]
    lines.append("|---" * 5 + "|")
    for r in runs:
        for phase in ("intermediate", "prediction"):
            first, second = (r[f"{phase}_{start}"] for start in ("first", "second"))
            lines.append(
                f"| {r['rows']:,} | {phase} | {first['seconds_to_the_first_step']} / "
                f"{second['seconds_to_the_first_step']} s | {first['anonymous_mb']} / {second['anonymous_mb']} MB "
                f"| {first['mapped_mb']} / {second['mapped_mb']} MB |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)

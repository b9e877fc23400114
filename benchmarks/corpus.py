"""How long plain text takes to become training rows, and what memory that holds, from 10 MB to 2 GB.

The text repeats SQuAD 1.1's contexts, a paragraph a line, with a line that tells which copy it is before each. A first
start of `--phase general --masking word` tokenises it to disk; a second one finds all there. Each is a process of its
own, whose workers are those of the command. Then 500 batches of 32 rows of up to 128 pieces, masked and collated, in
the trainer's order. Memory is what is beyond the imported program's; of the workers all. On a machine that others use,
the processor's seconds, of all processes together, are the ones to trust.

The reference, of the smallest text alone, does what a straightforward script does: all lines in a list, tokenised in
one call, concatenated and cut to rows in lists, batches in random order by transformers' collator, which masks single
pieces.

    python -m benchmarks.corpus
    python -m benchmarks.corpus --sizes 10,100 --corpus texts/
"""

import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from transformers import AutoTokenizer, DataCollatorForLanguageModeling, PreTrainedTokenizerBase

import run_tinybert
from benchmarks.machine import Clock, MemoryWatch, ProcessesWatch, alone, check_inputs
from glue_tasks import get_task
from glue_tasks.errors import UserError, exit_on_user_error
from glue_tasks.places import find_file
from tinydistill.corpus.data import TextData, load_text
from tinydistill.corpus.reading import corpus_files, corpus_lines
from tinydistill.data import LengthBucketSampler, column
from tinydistill.kinds import kind_of
from tinydistill.options import Options
from tinydistill.text_task import text_task

BATCH, BATCHES, MAX_LENGTH = 32, 500, 128
MB = 1_000_000


@exit_on_user_error(resumable=False)
def main(
    mrc_dir: Annotated[Path, typer.Option(help="The folder that holds SQuAD1.1.")] = Path("../shared/data/mrc"),
    corpus: Annotated[
        Path | None, typer.Option(help="A text, or a folder of texts, to repeat instead of SQuAD's contexts.")
    ] = None,
    model: Annotated[Path, typer.Option(help="The model whose tokenizer is used.")] = Path(
        "../shared/models/minilm-l6-h384-mlm"
    ),
    sizes: Annotated[str, typer.Option(help="Sizes of the text, in MB.")] = "10,2000",
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/corpus.json"),
) -> None:
    """Measure the first and the second start on a text of each size, a pass over batches, and a plain script."""
    check_inputs(**({"corpus": corpus} if corpus else {"mrc_dir": mrc_dir}), model=model)
    runs: list[dict[str, Any]] = []
    for size in sorted(map(float, sizes.split(","))):
        with tempfile.TemporaryDirectory() as name:  # of twice the size, and TMPDIR says where
            folder = Path(name)
            text = folder / "text.txt"
            write_text(_source(mrc_dir, corpus), text, int(size * MB))
            run: dict[str, Any] = {"text_mb": round(text.stat().st_size / MB, 1)}
            for start in ("first", "second"):
                run[start] = alone(measure_start, text, model, folder / "cache")
            if not runs:
                run["reference"] = alone(measure_reference, text, model)
        runs.append(run)
        print(json.dumps(run), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")
    print(table(runs))
    print(f"written to {output}")


def _source(mrc_dir: Path, corpus: Path | None) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each begins a document, again and again."""
    while True:
        empty = True
        for line, begins in corpus_lines(corpus_files([corpus])) if corpus else _contexts(mrc_dir):
            yield line, begins
            empty = False
        if empty:
            raise UserError(
                f"{corpus or mrc_dir} holds no text; name another with --{'corpus' if corpus else 'mrc-dir'}"
            )
        yield "", True


def _contexts(mrc_dir: Path) -> Iterator[tuple[str, bool]]:
    """Of SQuAD's articles, each a document, the paragraphs."""
    read = json.loads(find_file(get_task("SQuAD1.1"), mrc_dir, "train").read_text(encoding="utf-8"))
    for article in read["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            yield " ".join(paragraph["context"].split()), not number


def write_text(lines: Iterator[tuple[str, bool]], path: Path, size: int) -> None:
    """The first bytes of the lines, `size` or a line more; a blank line between documents.

    An empty line is the end of a copy: behind it stands which one begins.
    """
    copy, written = 1, 0
    with open(path, "wb") as file:
        for line, begins in itertools.chain([("", False)], lines):
            if not line:
                line, copy = f"This is copy {copy} of the text.", copy + 1
            written += file.write(("\n" * begins + line + "\n").encode())
            if written >= size:
                return


def _tokenizer(model: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer(["it starts its threads"] * 10)
    return tokenizer


def measure_start(text: Path, model: Path, cache: Path) -> dict[str, Any]:
    """A start with this text and cache, and a pass over batches."""
    tokenizer = _tokenizer(model)
    options = Options(corpus=(str(text),), cache_dir=str(cache), masking="word", max_length=MAX_LENGTH)
    own_main = sys.modules["__main__"]
    sys.modules["__main__"] = run_tinybert  # workers import their parent's main module, here the command's
    try:
        clock, of_workers = Clock(), _seconds_of_workers()
        with ProcessesWatch() as memory:
            data = load_text(options, tokenizer, kind_of(text_task()))
            seconds, processor = clock.read()
        processor += _seconds_of_workers() - of_workers - memory.processor_seconds
    finally:
        sys.modules["__main__"] = own_main
    size = text.stat().st_size / MB
    found = data.corpus.describe()
    on_disk = sum(path.stat().st_size for path in data.corpus.folder.rglob("*") if path.is_file())
    return {
        "seconds": round(seconds, 2),
        "mb_per_second": round(size / seconds, 2),
        "processor_seconds": round(processor, 2),
        "mb_per_processor_second": round(size / processor, 2),
        "memory": memory.read(),
        "documents": found["documents"],
        "lines": found["lines"],
        "pieces": found["pieces"],
        "rows": len(data.train),
        "disk_mb_per_million_pieces": round(on_disk / found["pieces"], 3),
        "pass": _pass(data),
    }


def _seconds_of_workers() -> float:
    """Of the processor, of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pass(data: TextData) -> dict[str, Any]:
    """The first batches of an epoch."""
    with MemoryWatch() as memory:
        began = time.perf_counter()
        order = LengthBucketSampler(column(data.train, "length"), BATCH, seed=42).order()
        ordered = time.perf_counter() - began
        clock, rows = Clock(), 0
        for start in range(0, min(BATCHES * BATCH, len(order)), BATCH):
            numbers = order[start : start + BATCH].tolist()
            rows += len(data.collate(data.train.__getitems__(numbers))["input_ids"])
        seconds, processor = clock.read()
    processor -= memory.processor_seconds
    return {
        "seconds_for_an_order": round(ordered, 3),
        "rows": rows,
        "rows_per_second": round(rows / seconds),
        "rows_per_processor_second": round(rows / processor),
        "memory": memory.read(),
    }


def measure_reference(text: Path, model: Path) -> dict[str, Any]:
    """All in memory, as lists."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = _tokenizer(model)
    with MemoryWatch() as memory:
        clock = Clock()
        lines = [line for line in text.read_text(encoding="utf-8").split("\n") if line]
        encoded = tokenizer(lines, add_special_tokens=False)
        pieces = list(itertools.chain.from_iterable(encoded["input_ids"]))
        room, first, last = MAX_LENGTH - 2, tokenizer.cls_token_id, tokenizer.sep_token_id
        examples = [[first, *pieces[start : start + room], last] for start in range(0, len(pieces), room)]
        seconds, processor = clock.read()
    processor -= memory.processor_seconds
    collate = DataCollatorForLanguageModeling(tokenizer)
    order = np.random.default_rng(0).permutation(len(examples)).tolist()[: BATCHES * BATCH]
    clock = Clock()
    for start in range(0, len(order), BATCH):
        collate([{"input_ids": examples[number]} for number in order[start : start + BATCH]])
    in_batches, of_batches = clock.read()
    size = text.stat().st_size / MB
    return {
        "seconds": round(seconds, 2),
        "mb_per_second": round(size / seconds, 2),
        "processor_seconds": round(processor, 2),
        "mb_per_processor_second": round(size / processor, 2),
        "memory": memory.read(),
        "pieces": len(pieces),
        "rows_per_second": round(len(order) / in_batches),
        "rows_per_processor_second": round(len(order) / of_batches),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Three, and a sentence of ratios. Memory: own / of mapped files."""
    lines = [
        "| text | pieces | tokenised | by processor seconds | memory: reads | works, all / largest "
        "| on disk, a million pieces | second start | its memory |",
        "|---" * 9 + "|",
    ]
    for run in runs:
        first, second = run["first"], run["second"]
        workers = first["memory"]
        lines.append(
            f"| {run['text_mb']:,g} MB | {first['pieces'] / 1e6:,.1f} M | {first['seconds']:,} s, "
            f"{first['mb_per_second']} MB/s | {first['mb_per_processor_second']} MB/s | {_held(first['memory'])} "
            f"| {workers['workers_anonymous_mb']} / {workers['largest_worker_mb']} MB "
            f"| {first['disk_mb_per_million_pieces']} MB | {second['seconds']} s | {_held(second['memory'])} |"
        )
    lines += ["", "| text | rows | order of an epoch | rows/s, first / second start | by processor seconds | memory |"]
    lines.append("|---" * 6 + "|")
    for run in runs:
        passes = [run[start]["pass"] for start in ("first", "second")]
        lines.append(
            f"| {run['text_mb']:,g} MB | {run['first']['rows']:,} | {passes[1]['seconds_for_an_order']} s "
            f"| {passes[0]['rows_per_second']:,} / {passes[1]['rows_per_second']:,} "
            f"| {passes[0]['rows_per_processor_second']:,} / {passes[1]['rows_per_processor_second']:,} "
            f"| {_held(passes[0]['memory'])}, {_held(passes[1]['memory'])} |"
        )
    ours, plain = runs[0]["first"], runs[0]["reference"]
    held = ours["memory"]["anonymous_mb"] + ours["memory"]["workers_anonymous_mb"]
    lines += [
        "",
        f"The plain script on {runs[0]['text_mb']:g} MB: {plain['seconds']} s, {plain['mb_per_second']} MB/s "
        f"({plain['mb_per_processor_second']} by processor seconds), {plain['memory']['anonymous_mb']} MB; "
        f"{plain['rows_per_second']:,} rows/s ({plain['rows_per_processor_second']:,}). Ours: "
        f"{_ratio(ours, plain, 'mb_per_second')} times as fast ({_ratio(ours, plain, 'mb_per_processor_second')}) in "
        f"1/{plain['memory']['anonymous_mb'] / max(held, 1):.1f} of the memory, all processes together; rows "
        f"{_ratio(ours['pass'], plain, 'rows_per_second')} times "
        f"({_ratio(ours['pass'], plain, 'rows_per_processor_second')}).",
    ]
    return "\n".join(lines)


def _ratio(ours: dict[str, Any], plain: dict[str, Any], name: str) -> str:
    return f"{ours[name] / plain[name]:.2f}"


def _held(memory: dict[str, int]) -> str:
    return f"{memory['anonymous_mb']} / {memory['mapped_mb']} MB"


if __name__ == "__main__":
    typer.run(main)

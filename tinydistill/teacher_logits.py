"""The teacher's outputs on a training set: computed once for each example and kept on disk.

Hours of work are not lost with the process that does it. The examples, longest first, are cut into shards of some
hundred batches; each shard is written whole by the process that computed it, and one that is there is not computed
again. The shards become a column in the order of the rows, and go.

Of an example with several outputs those that count are kept, in half precision: 2 bytes for each class of each.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from tqdm import tqdm
from transformers import PreTrainedModel

from glue_tasks.seals import is_whole, seal
from glue_tasks.writers import alone, whole_file
from tinydistill import processes
from tinydistill.data import PLACES, counted_outputs
from tinydistill.encoders.attention import replace_attention
from tinydistill.evaluation import longest_first, outputs_of_rows, places_of
from tinydistill.kinds.kind import Collate
from tinydistill.outputs import OfExamples, Outputs

_BATCH = 64  # examples
_SHARD = 100 * _BATCH  # examples: a minute's work of a BERT-base on a few cores, and no file of a few bytes
_ROWS_WRITTEN_AT_ONCE = 10_000
_LARGEST = float(np.finfo(np.float16).max)
_OF_EXAMPLES = OfExamples()


def teacher_logits(
    teacher: PreTrainedModel,
    name: str,
    data: Dataset,
    collate: Collate,
    precision: str,
    cache: Path,
    kept: Outputs = _OF_EXAMPLES,
) -> Dataset:
    """A dataset of one column `teacher_logits`, in the order of `data`: (C,) in float32 of each example; or, where
    several outputs of an example count, the bytes of (outputs, C) in float16.

    `name` tells teachers apart that give other outputs. `data` is an encoded split, whose file is named by what it was
    made of. `kept` says which outputs count. The processes of a run divide the shards among themselves, also where
    another number of processes began; all must call.
    """
    source = Path(data.cache_files[0]["filename"]).stem.rpartition("-")[2]
    path = cache / f"teacher-logits-{name}-{source}-{precision}.arrow"
    shards = path.with_suffix(".shards")
    # Another run that shares the folder may be at work on the same.
    with alone(path.with_suffix(".lock")) if processes.is_first() else contextlib.nullcontext():
        if processes.from_first(lambda: not is_whole(path.with_suffix(".json"))):
            order = longest_first(data)
            _compute(teacher, data, order, collate, precision, shards, kept)
            processes.wait()
            processes.from_first(lambda: _join(data, order, teacher.config.num_labels, shards, path))
        processes.from_first(lambda: shutil.rmtree(shards, ignore_errors=True))
    processes.check_shared(path.with_suffix(".json"))
    return Dataset.from_file(str(path))


def _type_of(data: Dataset) -> Any:
    """Of the numbers that are kept."""
    return np.float16 if PLACES in data.column_names else np.float32


def _compute(
    teacher: PreTrainedModel,
    data: Dataset,
    order: np.ndarray,
    collate: Collate,
    precision: str,
    folder: Path,
    kept: Outputs,
) -> None:
    """Write the shards that are not there."""
    processes.from_first(lambda: folder.mkdir(parents=True, exist_ok=True))
    processes.check_shared(folder)
    starts = range(0, len(order), _SHARD)
    done = lambda start: is_whole(_shard(folder, start).with_suffix(".json"))  # noqa: E731
    missing = processes.from_first(lambda: [start for start in starts if not done(start)])
    there = len(order) - sum(len(order[start : start + _SHARD]) for start in missing)
    mine = [(start, order[start : start + _SHARD]) for start in missing[processes.index() :: processes.count()]]
    own = sum(len(rows) for _, rows in mine)
    teacher.eval()
    replace_attention(teacher)
    with tqdm(total=there + own, initial=there, desc="teacher's logits", unit=" rows", leave=False, delay=2) as bar:
        for start, rows in mine:
            outputs = []
            for at in range(0, len(rows), _BATCH):
                batch = rows[at : at + _BATCH]
                found = outputs_of_rows(teacher, data, batch, collate, precision, kept)
                outputs.append(found.clip(-_LARGEST, _LARGEST).astype(_type_of(data)))
                bar.update(len(batch))
            _write_shard(_shard(folder, start), np.concatenate(outputs))


def _shard(folder: Path, start: int) -> Path:
    return folder / f"{start:010}.npy"


def _write_shard(path: Path, outputs: np.ndarray) -> None:
    """outputs: (P, C). The file appears only when it is whole, and on the disk."""
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.save(file, outputs)
        file.flush()
        os.fsync(file.fileno())
    seal(path.with_suffix(".json"), path)


def _join(data: Dataset, order: np.ndarray, num_labels: int, shards: Path, path: Path) -> None:
    """All shards as one column, each row in its place. The file appears only when it is whole."""
    counts = counted_outputs(data)
    ends = np.cumsum(counts)
    whole = np.lib.format.open_memmap(
        shards / "whole.npy", mode="w+", dtype=_type_of(data), shape=(int(counts.sum()), num_labels)
    )
    for start in range(0, len(order), _SHARD):
        shard = _shard(shards, start)
        processes.check_shared(shard.with_suffix(".json"))  # another machine may have written it
        whole[places_of(order[start : start + _SHARD], ends, counts)] = np.load(shard)
    is_packed = PLACES in data.column_names
    kind = Value("binary") if is_packed else List(Value("float32"), length=num_labels)
    with (
        whole_file(path) as partial,
        ArrowWriter(path=str(partial), features=Features({"teacher_logits": kind})) as writer,
    ):
        for rows in _blocks(whole, ends, is_packed):
            writer.write_batch({"teacher_logits": rows})
        writer.finalize()
    seal(path.with_suffix(".json"), path)


def _blocks(outputs: np.ndarray, ends: np.ndarray, is_packed: bool) -> Iterator[Any]:
    """The values of the column, of some rows at a time. outputs: (P, C), of row i those before `ends[i]`."""
    for start in range(0, len(ends), _ROWS_WRITTEN_AT_ONCE):
        block = ends[start : start + _ROWS_WRITTEN_AT_ONCE]
        first = ends[start - 1] if start else 0
        if not is_packed:
            yield outputs[first : block[-1]]
        else:
            yield [outputs[a:b].tobytes() for a, b in zip([first, *block[:-1]], block, strict=True)]

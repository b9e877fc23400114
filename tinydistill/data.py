"""Examples: tokenised once to disk (Arrow), read by length, padded to the longest of a batch."""

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute
import torch
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from torch.utils.data import Sampler
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from glue_tasks.digests import reading_digest
from glue_tasks.rows import Row, Split
from glue_tasks.seals import fingerprint, is_whole, seal
from glue_tasks.writers import whole_file
from tinydistill.encoders.tokenizer import what_decides_pieces
from tinydistill.outputs import COUNTED

_ROWS_AT_ONCE = 1_000  # tokenised in one call, in parallel inside the tokenizer
_BATCHES_SORTED_TOGETHER = 50  # of a shuffled epoch: wide enough for even lengths, narrow enough to stay random


def encode(
    table: Split,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache_dir: Path,
    label_type: Any,
    stored: Callable[[Any], Any] = lambda label: label,
) -> Dataset:
    """The table of sentences or pairs as `cached_rows`: `input_ids`, perhaps `token_type_ids`, `labels`, `length`,
    `cut`.

    `length` counts pieces, `cut` says that the row was longer than `max_length` pieces and lost its end (a pair loses
    the end of its longer text first). label_type: of the column `labels`; stored: a row's label as that column has it.
    """
    columns = piece_columns(tokenizer) | ({"labels": label_type} if table.is_labelled else {})
    blocks = lambda: ((block,) for block in _columns(table, tokenizer, max_length, stored))  # noqa: E731
    return cached_rows(table, tokenizer, str(max_length), cache_dir, Features(columns), blocks)


Columns = dict[str, list]  # the columns of some rows


def cached_rows(
    table: Split,
    tokenizer: PreTrainedTokenizerBase,
    how: str,
    cache_dir: Path,
    features: Features,
    blocks: Callable[[], Iterator[tuple[Columns, ...]]],
    beside: Features | None = None,
) -> Dataset:
    """A memory-mapped dataset of a table's rows, made once.

    The file in `cache_dir` is named by what it was made of, so that a second start reads it at once, and appears only
    when it is whole; a record beside it, written last, tells whether it still is.
    how: all that decides the rows beside the table and the tokenizer. blocks: makes them, in blocks of columns; with
    the features `beside` also those of a second dataset, which `rows_beside` opens.
    """
    key = hashlib.sha256(
        "\0".join(
            [
                fingerprint(table.path)["sha256"],
                table.path.suffix,
                reading_digest(table.task),
                f"{table.is_labelled} {table.skip_bad_rows}",
                _pieces_of(tokenizer),
                how,
            ]
        ).encode()
    ).hexdigest()[:16]
    path = cache_dir / f"{table.path.stem}-{key}.arrow"
    record = _record_of(path)
    if not is_whole(record):
        parts = {path: features} | ({_beside(path): beside} if beside else {})
        with contextlib.ExitStack() as stack:
            partials = {part: stack.enter_context(whole_file(part)) for part in parts}
            writers = [
                stack.enter_context(ArrowWriter(path=str(partials[part]), features=of)) for part, of in parts.items()
            ]
            for columns in blocks():
                for writer, own in zip(writers, columns, strict=True):
                    writer.write_batch(own)
            for writer in writers:
                writer.finalize()
        seal(record, *parts, left_out=table.tally.left_out(), rows=table.tally.rows)
    return Dataset.from_file(str(path))


def blocks_of(table: Split, what: str = "rows", size: int = _ROWS_AT_ONCE) -> Iterator[list[Row]]:
    """The table's rows, so many at a time, beside a progress bar of what they are."""
    rows = iter(tqdm(table, desc=f"tokenise {table.path.name}", unit=f" {what}", leave=False, delay=2))
    while block := list(itertools.islice(rows, size)):
        yield block


def rows_beside(data: Dataset) -> Dataset:
    """The second dataset that `cached_rows` wrote with the first."""
    return Dataset.from_file(str(_beside(Path(data.cache_files[0]["filename"]))))


def _beside(path: Path) -> Path:
    return path.with_suffix(".beside.arrow")


def column(data: Dataset, name: str) -> np.ndarray:
    """A column of one number for each row. `data[name]` would make a Python object of each first."""
    values = data.data.column(name).to_numpy()
    return values if data._indices is None else values[data._indices.column(0).to_numpy()]


def flat_column(data: Dataset, name: str) -> np.ndarray:
    """The values of a column of lists, one row's after the other's."""
    values = data.data.column(name)
    if data._indices is not None:
        values = values.take(data._indices.column(0))
    return pyarrow.compute.list_flatten(values).to_numpy()


def counted_outputs(data: Dataset) -> np.ndarray:
    """How many rows of outputs count of each example, (N,): one, or as many as it has `places`."""
    if PLACES not in data.column_names:
        return np.ones(len(data), dtype=np.int64)
    values = data.data.column(PLACES)
    if data._indices is not None:
        values = values.take(data._indices.column(0))
    return pyarrow.compute.list_value_length(values).to_numpy().astype(np.int64)


def left_out(data: Dataset) -> dict[str, int]:
    """How many rows of its file an encoded dataset is without, by the reason."""
    return _read_record(data)["left_out"]


def count_rows(data: Dataset) -> int:
    """How many rows of its file an encoded dataset is of: a long text is in several windows."""
    if not data.cache_files:  # in memory: rows of text
        return len(data)
    return _read_record(data)["rows"]


def count_cut(data: Dataset) -> int:
    """How many rows of its file lost their end."""
    cut = column(data, "cut")
    return int(cut.sum()) if "row" not in data.column_names else len(np.unique(column(data, "row")[cut]))


def _read_record(data: Dataset) -> dict[str, Any]:
    record = _record_of(Path(data.cache_files[0]["filename"]))
    return json.loads(record.read_text(encoding="utf-8"))


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _pieces_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """What decides the columns and the pieces."""
    # BERT's and DistilBERT's differ in nothing but whether they give segment ids.
    own = {"columns": tokenizer.model_input_names, "cut": tokenizer.truncation_side}
    return json.dumps({**what_decides_pieces(tokenizer), **own})


def piece_columns(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The columns of all kinds, in the smallest types that hold them: millions of rows are mapped into memory."""
    piece = "uint16" if max(tokenizer.get_vocab().values()) < 1 << 16 else "int32"
    columns: dict[str, Any] = {"input_ids": List(Value(piece))}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = List(Value("int8"))
    return columns | {"length": Value("int32"), "cut": Value("bool")}


def _columns(
    table: Split, tokenizer: PreTrainedTokenizerBase, max_length: int, stored: Callable[[Any], Any]
) -> Iterator[dict[str, list]]:
    """The table's columns, block by block. While one is tokenised the next is read and the one before made ready."""
    # One call through transformers sets the tokenizer's backend up; its own way back to Python is twice as long.
    tokenizer("", truncation="longest_first", max_length=max_length)
    backend = tokenizer.backend_tokenizer
    with_types = "token_type_ids" in tokenizer.model_input_names
    waiting: tuple[list[Row], Future] | None = None
    with ThreadPoolExecutor(1) as beside:  # the backend lets go of Python's lock
        for block in blocks_of(table):
            texts = [row.texts if len(row.texts) > 1 else row.texts[0] for row in block]
            ahead = (block, beside.submit(backend.encode_batch, texts))
            if waiting:
                yield _block(*waiting, max_length, with_types, stored)
            waiting = ahead
        if waiting:
            yield _block(*waiting, max_length, with_types, stored)


def _block(
    rows: list[Row], tokenised: Future, max_length: int, with_types: bool, stored: Callable[[Any], Any]
) -> dict[str, list]:
    encodings = tokenised.result()
    columns: dict[str, list] = {"input_ids": [encoding.ids for encoding in encodings]}
    if with_types:
        columns["token_type_ids"] = [encoding.type_ids for encoding in encodings]
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    # A row of `max_length` pieces may be whole; of others one need not ask.
    columns["cut"] = [
        length >= max_length and bool(encoding.overflowing)
        for length, encoding in zip(columns["length"], encodings, strict=True)
    ]
    if rows[0].label is not None:
        columns["labels"] = [stored(row.label) for row in rows]
    return columns


IDLE = "idle"  # in a batch whose examples do not count: it keeps a process busy
PLACES = "places"  # a column: which pieces of an example have outputs that count
_NO_INPUTS = ("attention_mask", "length", "cut")  # columns that a batch makes itself, or goes without
_OF_PLACES = (PLACES, "row", "first", "offsets")  # the same, of examples with places

_NO_LABEL = -100  # as transformers has it


class Collator:
    """Pads a batch to its longest example, or to `pad_to` pieces, and makes tensors of it.

    Gives `input_ids`, `attention_mask` and perhaps `token_type_ids` (B, L), and the dataset's other columns of numbers
    as they are: `labels` (B,) or (B, C), a teacher's logits (B, C). With the column `places`, `counted` (B, L) says
    which pieces they are, and what there is one of for each of them is (B, L), or (B, L, C) of a teacher's logits:
    `at_places` names such a column of labels, which are -100 elsewhere.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None, at_places: str = ""):
        self.fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        self.on_the_left = tokenizer.padding_side == "left"
        self.pad_to = pad_to
        self.at_places = at_places

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = np.array([len(example["input_ids"]) for example in examples])
        width = self.pad_to or int(lengths.max())
        places = np.arange(width)
        mask = places >= width - lengths[:, None] if self.on_the_left else places < lengths[:, None]
        batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for name, fill in self.fill.items():
            if name in examples[0]:
                values = np.full(mask.shape, fill)
                values[mask] = np.concatenate([example[name] for example in examples])
                batch[name] = torch.from_numpy(values)
        made = {*self.fill, *_NO_INPUTS}
        if PLACES in examples[0]:
            made.update(_OF_PLACES)
            counted = torch.zeros(mask.shape, dtype=torch.bool)
            starts = width - lengths if self.on_the_left else np.zeros_like(lengths)
            for row, example in enumerate(examples):
                counted[row, torch.tensor(example[PLACES], dtype=torch.long) + int(starts[row])] = True
            batch[COUNTED] = counted
        for name in examples[0]:
            if name in made:
                continue
            of_examples = [example[name] for example in examples]
            if name == self.at_places and COUNTED in batch:
                full = torch.full(mask.shape, _NO_LABEL)
                flat = list(itertools.chain.from_iterable(of_examples))
                full[batch[COUNTED]] = torch.tensor(flat, dtype=torch.long)  # of a batch there may be none
                batch[name] = full
            elif isinstance(of_examples[0], bytes):
                batch[name] = self._at_places(of_examples, batch[COUNTED])
            else:
                batch[name] = torch.tensor(of_examples)
        return batch

    @staticmethod
    def _at_places(values: list[bytes], counted: torch.Tensor) -> torch.Tensor:
        """A teacher's logits (B, L, C), 0 where they do not count, of those that do, in half precision."""
        flat = torch.from_numpy(np.frombuffer(b"".join(values), dtype=np.float16).astype(np.float32))
        rows = flat.view(max(int(counted.sum()), 1), -1)[: int(counted.sum())]
        full = rows.new_zeros(*counted.shape, rows.shape[1])
        full[counted] = rows
        return full


class LengthBucketSampler(Sampler[int]):
    """A random order in which each run of `batch_size` examples is of like length.

    The order depends on the seed and the epoch alone. A last, smaller batch stays last, so that the batches a data
    loader cuts are the ones meant here. `batch_size` is that of an optimizer step: its micro-batches lie together.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int):
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def order(self) -> np.ndarray:
        """The epoch's order (rows,), of small integers."""
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(np.arange(len(self.lengths), dtype=np.int32))
        whole = len(order) - len(order) % self.batch_size
        for start in range(0, whole, self.batch_size * _BATCHES_SORTED_TOGETHER):
            near = order[start : min(start + self.batch_size * _BATCHES_SORTED_TOGETHER, whole)]
            near[:] = near[np.argsort(self.lengths[near], kind="stable")]
        batches = order[:whole].reshape(-1, self.batch_size)  # (batches, batch_size)
        order[:whole] = batches[random.permutation(len(batches))].reshape(-1)
        return order

    def __iter__(self) -> Iterator[int]:
        order = self.order()
        for start in range(0, len(order), self.batch_size):
            yield from order[start : start + self.batch_size].tolist()


class ShareOfSteps(Sampler[list[int]]):
    """The batches of one of several processes, which step together.

    An optimizer step is the next `batch_size` × `accumulate` × `count` examples, whatever the number of processes. Its
    batches are dealt in turn, so that those computed at the same time are of like length. The last step has what is
    left, dealt evenly: a process may get an empty batch, for all must make as many.
    """

    def __init__(self, order: LengthBucketSampler, batch_size: int, accumulate: int, index: int, count: int):
        self.order = order
        self.at_once = batch_size * count
        self.step = self.at_once * accumulate
        self.index = index
        self.count = count

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.at_once)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order.order()
        for start in range(0, len(order), self.step):
            examples = order[start : start + self.step]
            batches = np.array_split(examples, math.ceil(len(examples) / self.at_once) * self.count)
            for batch in batches[self.index :: self.count]:
                yield batch.tolist()

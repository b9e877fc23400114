"""What is in a split: rows, label balance, lengths, examples. One pass; only counts are kept, never the text."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from glue_tasks.errors import UserError
from glue_tasks.files import Row, Table

PERCENTILES = (50, 90, 99, 100)

# The texts of some rows in, the number of word pieces of each row out, [CLS] and [SEP] included.
CountPieces = Callable[[Sequence[tuple[str, ...]]], list[int]]

_BLOCK = 1000  # rows tokenised at a time: enough to keep a fast tokenizer busy, little enough to hold


@dataclass
class Values:
    """The least, the mean and the greatest label of a regression, gathered one by one."""

    least: float = float("inf")
    greatest: float = float("-inf")
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        self.total += value
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass
class Summary:
    """A split in figures. `words` and `pieces` map a length to the number of rows of that length."""

    rows: int = 0
    labels: Counter[int] = field(default_factory=Counter)  # label id -> rows; empty for a regression or a test split
    values: Values = field(default_factory=Values)  # of a regression
    words: Counter[int] = field(default_factory=Counter)  # split at white space; both sentences of a pair together
    pieces: Counter[int] = field(default_factory=Counter)  # empty without a tokenizer
    examples: list[Row] = field(default_factory=list)  # the first rows


def summarise(table: Table, count_pieces: CountPieces | None = None, examples: int = 3) -> Summary:
    """Read the split once and count. Raises UserError at a bad row."""
    summary = Summary()
    rows = iter(table)
    while block := list(itertools.islice(rows, _BLOCK)):
        summary.examples += block[: examples - len(summary.examples)]
        summary.rows += len(block)
        summary.words.update(sum(len(text.split()) for text in row.texts) for row in block)
        if count_pieces is not None:
            summary.pieces.update(count_pieces([row.texts for row in block]))
        for row in block:
            if row.label is None:
                continue
            if table.task.is_regression:
                summary.values.add(row.label)
            else:
                summary.labels[int(row.label)] += 1
    return summary


def percentile(lengths: Counter[int], percent: float) -> int:
    """The least length that at least `percent` % of the rows do not exceed (nearest rank: a length that occurs)."""
    wanted = percent * lengths.total()
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if 100 * seen >= wanted:
            return length
    raise ValueError("no lengths")


def piece_counter(model: str) -> CountPieces:
    """A function that counts word pieces as the tokenizer of that model folder (or hub name) makes them.

    Raises UserError if no tokenizer can be read there.
    """
    from transformers import AutoTokenizer  # seconds to import, and needed with --tokenizer alone

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no tokenizer could be read from {model}; give a folder that holds tokenizer.json or vocab.txt "
            "beside config.json, or the name of a model on the hub"
        ) from error

    def count_pieces(texts: Sequence[tuple[str, ...]]) -> list[int]:
        # (rows, 1 or 2 texts) -> one list of first and, for a pair task, one of second sentences
        columns = [list(column) for column in zip(*texts, strict=True)]
        encoded = tokenizer(*columns, return_attention_mask=False, return_token_type_ids=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return count_pieces


def lines(table: Table, summary: Summary) -> Iterator[str]:
    """The summary for a person to read, line by line."""
    task = table.task
    if summary.values.count:
        values = summary.values
        yield f"  {task.label_column:<9}min {values.least:g}   mean {values.mean:.3f}   max {values.greatest:g}"
    elif summary.labels:
        shares = (
            f"{name} {summary.labels[label]:,} ({summary.labels[label] / summary.rows:.1%})"
            for label, name in enumerate(task.labels)
        )
        yield f"  labels   {'   '.join(shares)}"
    else:
        yield "  labels   none, as published"
    yield f"  words    {_percentiles(summary.words)}"
    if summary.pieces:
        longer = sum(count for length, count in summary.pieces.items() if length > task.max_length)
        yield f"  pieces   {_percentiles(summary.pieces)}   longer than {task.max_length}: {longer:,} rows"
    for row in summary.examples:
        yield f"  line {row.line}{_label(row, table)}"
        for name, text in zip(task.text_columns, row.texts, strict=True):
            yield f"    {name}: {_clipped(text)}"


def _percentiles(lengths: Counter[int]) -> str:
    names = ("max" if percent == 100 else f"{percent}%" for percent in PERCENTILES)
    return "   ".join(
        f"{name} {percentile(lengths, percent)}" for name, percent in zip(names, PERCENTILES, strict=True)
    )


def _label(row: Row, table: Table) -> str:
    if row.label is None:
        return ""
    if table.task.is_regression:
        return f", {table.task.label_column} {row.label:g}"
    return f", {table.task.labels[int(row.label)]}"


def _clipped(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

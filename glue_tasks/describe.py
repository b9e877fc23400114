"""What is in a split, and how it was understood: format, columns, rows, label balance, lengths, examples.

One pass; only counts are kept, never the text.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glue_tasks.cells import SEPARATORS, separator_of
from glue_tasks.columns import wanted_columns
from glue_tasks.errors import UserError
from glue_tasks.files import Table
from glue_tasks.lines import RECORDS, shown, suffix_of
from glue_tasks.rows import Row
from glue_tasks.task import Task

PERCENTILES = (50, 90, 99, 100)

# The texts of some rows in, the number of word pieces of each row out, [CLS] and [SEP] included.
CountPieces = Callable[[Sequence[tuple[str, ...]]], list[int]]

_WIDTH = 120  # characters of a line
_ITEMS_SHOWN = 30  # labels
TEXT_SHOWN = 160  # characters
_LABELS_IN_ORDER = 20  # more than these are shown by their number of rows

NO_LABEL = -1  # where the rows of a multi-label task are counted that have none of the labels
BLOCK = 1000  # rows tokenised at a time: enough to keep a fast tokenizer busy, little enough to hold


@dataclass
class Summary:
    """A split in figures. `words` and `pieces` map a length to the number of rows of that length."""

    rows: int = 0
    labels: Counter[int] = field(default_factory=Counter)  # label id -> rows; empty in a regression or test split
    # Of the labels of a regression.
    least: float = float("inf")
    greatest: float = float("-inf")
    total: float = 0.0
    # Split at white space, in Chinese characters; both sentences of a pair together.
    words: Counter[int] = field(default_factory=Counter)
    pieces: Counter[int] = field(default_factory=Counter)  # empty without a tokenizer
    examples: list[Row] = field(default_factory=list)  # the first rows


def summarise(table: Table, count_pieces: CountPieces | None = None, examples: int = 3) -> Summary:
    """Read the split once and count. Raises UserError at a bad row."""
    summary = Summary()
    is_chinese = table.task.language == "zh"
    rows = iter(table)
    while block := list(itertools.islice(rows, BLOCK)):
        summary.examples += block[: examples - len(summary.examples)]
        summary.rows += len(block)
        summary.words.update(count_words(row.texts, is_chinese) for row in block)
        if count_pieces is not None:
            summary.pieces.update(count_pieces([row.texts for row in block]))
        for row in block:
            if isinstance(row.label, tuple):
                summary.labels.update(row.label or (NO_LABEL,))
            elif table.task.is_regression and row.label is not None:
                summary.least = min(summary.least, row.label)
                summary.greatest = max(summary.greatest, row.label)
                summary.total += row.label
            elif row.label is not None:
                summary.labels[int(row.label)] += 1
    return summary


def count_words(texts: Sequence[str], is_chinese: bool) -> int:
    words = [word for text in texts for word in text.split()]
    return sum(map(len, words)) if is_chinese else len(words)


def percentile(lengths: Counter[int], percent: float) -> int:
    """The least length that at least `percent` % of the rows do not exceed (nearest rank: a length that occurs)."""
    wanted = percent * lengths.total()
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if 100 * seen >= wanted:
            return length
    raise ValueError("no lengths")


def piece_counter(model: str, of_tokens: bool = False) -> CountPieces:
    """A function that counts word pieces as the tokenizer of that model folder (or hub name) makes them.

    of_tokens: whether the texts of a row are the tokens of one sentence.

    Raises UserError if no tokenizer can be read there.
    """
    from transformers import AutoTokenizer  # seconds to import, and needed with --tokenizer alone

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)  # else a folder may ask
        # From a folder without its files transformers makes one to which every word is unknown.
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise ValueError("it has no pieces")
    except (OSError, ValueError) as error:
        raise UserError(
            f"no tokenizer could be read from {model}; give a folder that holds tokenizer.json or vocab.txt "
            "beside config.json, or the name of a model on the hub"
        ) from error

    def count_pieces(texts: Sequence[tuple[str, ...]]) -> list[int]:
        # (rows, 1 or 2 texts) -> one list of first and, for a pair task, one of second sentences
        columns = (
            [[list(each) for each in texts]] if of_tokens else [list(column) for column in zip(*texts, strict=True)]
        )
        encoded = tokenizer(
            *columns,
            is_split_into_words=of_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [len(ids) for ids in encoded["input_ids"]]

    return count_pieces


def labels_of(task: Task) -> Iterator[str]:
    """What the labels are called and how the files write them, line by line."""
    if task.kind == "tokens":
        yield from wrapped("types", *(each or "none" for each in task.entity_types))
        return
    codes = task.label_codes if task.label_codes != task.labels else ()
    if task.labels:
        yield from wrapped("labels", *map(" ".join, zip(codes, task.labels, strict=True)) if codes else task.labels)


def lines(table: Table, summary: Summary) -> Iterator[str]:
    """The summary for a person to read, line by line."""
    task = table.task
    yield from _understood(table)
    if summary.least <= summary.greatest:
        mean = f"mean {summary.total / summary.rows:.3f}"
        yield from wrapped(task.label_column, f"min {summary.least:g}", mean, f"max {summary.greatest:g}")
    elif summary.labels:
        names = [*enumerate(task.labels), *([(NO_LABEL, "none")] if task.is_multi_label else [])]
        if len(names) > _LABELS_IN_ORDER:
            names.sort(key=lambda each: -summary.labels[each[0]])
        counts = [(name, summary.labels[label]) for label, name in names]
        yield from wrapped("balance", *(f"{name} {count:,} ({count / summary.rows:.1%})" for name, count in counts))
    else:
        yield from wrapped("balance", "labels are not read in a test split, or there are none")
    if table.tally.skipped:
        yield from wrapped("skipped", table.tally.faults())
    is_chinese = task.language == "zh"
    words = *percentiles(summary.words), *(["characters"] if is_chinese else [])
    yield from wrapped("length" if is_chinese else "words", *words)
    if summary.pieces:
        longer = sum(count for length, count in summary.pieces.items() if length > task.max_length)
        yield from wrapped("pieces", *percentiles(summary.pieces), f"longer than {task.max_length}: {longer:,} rows")
    for row in summary.examples:
        yield f"  line {row.line}{_label(row, task)}"
        for name, text in zip(task.text_columns, row.texts, strict=True):
            yield f"    {name}: {shown(text, TEXT_SHOWN)}"


def lines_of_table(table: Table, count_pieces: CountPieces | None = None) -> Iterator[str]:
    """Read the split once, and say what is in it, line by line. Raises UserError at a bad row."""
    yield from lines(table, summarise(table, count_pieces))


def _understood(table: Table) -> Iterator[str]:
    """The file's format, and which of its columns are the task's."""
    task, path, header = table.task, table.path, table.header
    is_records = suffix_of(path) in RECORDS
    packed = ", gzipped" if is_packed(path) else ""
    labels = [] if table.label_position is None else [table.label_position]
    if is_records:
        yield from wrapped("format", f"{'Parquet' if suffix_of(path) == '.parquet' else 'JSON'}{packed}")
        places = [f"the field {field!r}" for field in table.called]
    else:
        separator = separator_of(path, task.separator)
        found = f"the header is {shown(', '.join(header))}" if header else "no header"
        yield from wrapped("format", f"{SEPARATORS.get(separator, repr(separator))} between cells{packed}; {found}")
        places = [
            f"column {at + 1}" + ("" if header else ", by its position") for at in (*table.text_positions, *labels)
        ]
    kinds = ["text"] * len(task.text_columns) + ["label"]
    for kind, name, place, called in zip(kinds, wanted_columns(task, bool(labels)), places, table.called, strict=False):
        other = f", there called {called!r}" if header and called != name and not is_records else ""
        is_numbered = place.partition(",")[0] == name
        yield from wrapped(kind, f"{place if is_numbered else f'{name} is {place}'}{other}")
    if is_records and task.from_record:
        yield from wrapped("made by", (task.from_record.__doc__ or task.from_record.__name__).splitlines()[0])


def is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def percentiles(lengths: Counter[int]) -> list[str]:
    return [f"{'max' if percent == 100 else f'{percent}%'} {percentile(lengths, percent)}" for percent in PERCENTILES]


def _label(row: Row, task: Task) -> str:
    if row.label is None:
        return ""
    if isinstance(row.label, tuple):
        return f", {' + '.join(task.labels[each] for each in row.label) or 'none'}"
    return f", {task.label_column} {row.label:g}" if task.is_regression else f", {task.labels[int(row.label)]}"


def wrapped(name: str, *items: str) -> Iterator[str]:
    """Items in lines of no more than _WIDTH characters, none of them broken; of very many the first ones."""
    left = len(items) - _ITEMS_SHOWN
    start = line = f"  {name:<9}"
    for item in (*items[:_ITEMS_SHOWN], *([f"and {left} more"] if left > 0 else [])):
        if len(line) + len(item) > _WIDTH and line.strip() != name:
            yield line.rstrip()
            line = " " * len(start)
        line += item + "   "
    yield line.rstrip()

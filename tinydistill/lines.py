"""Labels of sentences, or of pairs, that come line by line: as many at a time as memory should hold, in their order."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from glue_tasks.writers import whole_file
from tinydistill.activations import apply_stated
from tinydistill.checks import check_pieces, check_positions
from tinydistill.encoders import precision
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.in_memory import task_of
from tinydistill.kinds import kind_of
from tinydistill.kinds.sentences import Sentences
from tinydistill.models import load_as_saved, load_fine_tuned
from tinydistill.predict import trained_with

_BATCHES = 64  # read together: wide enough for batches of like length
_MAX_LENGTH = 128  # word pieces, where neither the model nor a task says how many


@dataclass(frozen=True)
class Answer:
    """What a model says of one line."""

    texts: tuple[str, ...]  # one, or two of a pair
    labels: tuple[str, ...] = ()  # one; any number of a multi-label model; none of a regression
    probabilities: dict[str, float] | None = None  # of all labels
    value: float | None = None  # of a regression
    is_cut: bool = False  # whether it was longer than the model reads

    def as_tsv(self) -> str:
        """`label` and probability with a tab between, several with commas; of a regression its value alone."""
        if self.probabilities is None:
            return repr(self.value)
        chances = ",".join(f"{self.probabilities[label]:.6f}" for label in self.labels)
        return f"{','.join(self.labels)}\t{chances}"

    def to_dict(self) -> dict[str, object]:
        """Its texts, and `label` and `probability`, or `labels`, or `value`; `probabilities` of all labels."""
        found: dict[str, object] = dict(zip(("text", "text_pair"), self.texts, strict=False))
        if self.probabilities is None:
            found["value"] = self.value
        elif len(self.labels) == 1:
            found |= {"label": self.labels[0], "probability": self.probabilities[self.labels[0]]}
        else:
            found["labels"] = list(self.labels)
        if self.probabilities is not None:
            found["probabilities"] = self.probabilities
        return found

    def as_json(self) -> str:
        """An object on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


class LineReader:
    """A classifier or a regression, loaded once, that answers lines."""

    def __init__(
        self, name: str, task: Task | None = None, max_length: int = 0, batch_size: int = 64, how: str = "auto"
    ):
        """task: whose labels they are; by default those that the model names. Raises UserError for another head."""
        self.model, self.notes = load_fine_tuned(name, task) if task else _as_saved(name)
        kind = kind_of(task or task_of(self.model.config))
        if not isinstance(kind, Sentences):
            raise UserError(f"{kind.task.name} has no sentences with labels; predict a split of it with --data-dir")
        self.kind = kind
        self.tokenizer = load_tokenizer(name)
        check_pieces(self.model.config, self.tokenizer, f"model {name}")
        asked = max_length or trained_with(name).get("max_length", 0) or (task.max_length if task else 0)
        self.max_length = asked or min(_MAX_LENGTH, self.tokenizer.model_max_length)
        check_positions(self.model, f"model {name}", self.max_length)
        self.batch_size, self.where = batch_size, precision.device()
        self.precision = precision.resolve(how, self.where)
        self.model.to(self.where)

    def answers(self, lines: Iterable[tuple[str, ...]]) -> Iterator[Answer]:
        """One for each line, in their order; so many are read ahead as make batches of like length."""
        lines = iter(lines)
        while block := list(itertools.islice(lines, _BATCHES * self.batch_size)):
            yield from self._block(block)

    def _block(self, block: list[tuple[str, ...]]) -> Iterator[Answer]:
        data = _encoded(block, self.tokenizer, self.max_length)
        collate, kind = self.kind.collate(self.tokenizer), self.kind
        outputs = predict(
            self.model, data, collate, self.precision, self.batch_size, "predict", kept=kind.outputs
        )  # (lines, C)
        chances = kind.probabilities(outputs)
        names = kind.task.labels
        if chances is None:
            for texts, output, is_cut in zip(block, outputs, data.cut, strict=True):
                yield Answer(texts, value=float(output[0]), is_cut=is_cut)
            return
        chosen = kind.chosen(outputs, self.model.config)
        for texts, own, of_labels, is_cut in zip(block, chosen, chances.tolist(), data.cut, strict=True):
            found = dict(zip(names, of_labels, strict=True))
            yield Answer(texts, tuple(names[label] for label in own), found, is_cut=is_cut)


def _as_saved(name: str) -> tuple[PreTrainedModel, list[str]]:
    model = load_as_saved(name)
    saved = (model.config.architectures or [""])[0]
    if not saved.endswith("ForSequenceClassification"):
        how = "choose a model that was fine-tuned on sentences or pairs"
        if saved.endswith("ForQuestionAnswering"):
            how = "ask it with --question and --text, or predict a split with --task and --data-dir"
        elif saved.endswith("ForTokenClassification"):
            how = "predict a split with --task and --data-dir"
        raise UserError(f"{name} is a {saved or 'model without a head'}, which has no labels of sentences; {how}")
    return model, [note for note in [apply_stated(model, name)] if note]


class _Encoded:
    """Encoded lines with what `evaluation.predict` reads of a dataset. `Dataset.from_dict` takes 10 ms to know itself
    again, and a request is a few lines."""

    _indices = None

    def __init__(self, columns: Mapping[str, list[list[int]]], cut: list[bool]):
        self.columns, self.cut = columns, cut
        self.data = pa.table({"length": [len(ids) for ids in columns["input_ids"]]})
        self.column_names = [*columns, "length"]

    def __len__(self) -> int:
        return len(self.cut)

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, list[int]]]:
        return [{name: values[row] for name, values in self.columns.items()} for row in rows]


def _encoded(block: list[tuple[str, ...]], tokenizer: PreTrainedTokenizerBase, max_length: int) -> _Encoded:
    """As `data.encode`, in memory."""
    tokenizer("", truncation="longest_first", max_length=max_length)  # sets the backend up
    encodings = tokenizer.backend_tokenizer.encode_batch([each if len(each) > 1 else each[0] for each in block])
    columns = {"input_ids": [each.ids for each in encodings]}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = [each.type_ids for each in encodings]
    return _Encoded(columns, [bool(each.overflowing) for each in encodings])


def read_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, ...]]:
    """The texts of each line of a file in UTF-8, two where there is a tab. Raises UserError for a line that is none."""
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(f"line {number:,} of {name} is not UTF-8 text; save it as UTF-8") from None
        yield texts_of(text, f"line {number:,} of {name}")


def texts_of(line: str, where: str) -> tuple[str, ...]:
    """One text, or the two of a pair. Raises UserError if there are more."""
    texts = tuple(line.split("\t"))
    if len(texts) > 2:
        raise UserError(
            f"{where} has {len(texts) - 1} tabs; one parts the two texts of a pair, and more have no meaning"
        )
    return texts


LAYOUTS = ("tsv", "jsonl")


def label_lines(
    sentences: Sequence[str],
    file: Path | None,
    output: Path | None,
    overwrite: bool,
    layout: str,
    *model: Any,
) -> None:
    """Label what the command line was given: sentences, the lines of a file, or those of standard input.

    output: a file, written whole or not at all; None is standard output. model: what LineReader takes. Notes go to
    standard error. Raises UserError.
    """
    if layout not in LAYOUTS:
        raise UserError(f"--format is {layout!r}; it can be {', '.join(LAYOUTS)}")
    if sentences and file:
        raise UserError("sentences come from the command line or from --input; give one of them")
    from_terminal = not sentences and file in (None, _STANDARD) and sys.stdin.isatty()
    if from_terminal:
        raise UserError(
            "predict needs sentences: give them in quotes, or lines with --input FILE or through a pipe; or --data-dir "
            "and --task for a split, or --question and --text"
        )
    if output and output.exists() and (output.is_dir() or not overwrite):
        cure = "" if output.is_dir() else ", or write over it with --overwrite"
        raise UserError(f"{output} is there already; choose another --output{cure}")
    with contextlib.ExitStack() as files:
        lines = _source(sentences, file, files)
        reader = LineReader(*model)
        for note in reader.notes:
            print(f"note: {note}", file=sys.stderr)
        to = sys.stdout
        if output:
            partial = files.enter_context(whole_file(output))
            to = files.enter_context(open(partial, "w", encoding="utf-8", newline="\n"))
        cut = 0
        try:
            for answer in reader.answers(lines):
                to.write((answer.as_tsv() if layout == "tsv" else answer.as_json()) + "\n")
                cut += answer.is_cut
            to.flush()
        except BrokenPipeError:  # whoever read the answers, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if cut:
        print(f"note: {cut:,} lines were cut at {reader.max_length} word pieces", file=sys.stderr)


def _source(sentences: Sequence[str], file: Path | None, files: contextlib.ExitStack) -> Iterator[tuple[str, ...]]:
    if sentences:
        return iter([texts_of(each, f"sentence {number}") for number, each in enumerate(sentences, start=1)])
    if file in (None, _STANDARD):
        return read_lines(sys.stdin.buffer, "standard input")
    assert file is not None
    if file.is_dir():
        raise UserError(f"{file} is a folder; name a file of lines with --input")
    if not file.exists():
        raise UserError(f"there is no file {file}; name one with --input")
    return read_lines(files.enter_context(open(file, "rb")), str(file))


_STANDARD = Path("-")

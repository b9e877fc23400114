"""A model's answers to a split, written as the benchmarks' servers take them, in the layouts of the task's kind."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from glue_tasks.places import NotThere, find_file
from glue_tasks.rows import Split
from glue_tasks.task import Task
from tinydistill.checks import check_pieces, check_positions
from tinydistill.data import count_cut, count_rows
from tinydistill.encoders import precision
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.kinds.kind import Answers, Lengths
from tinydistill.known_words import doubts_about_words
from tinydistill.label_order import ROWS, is_unnamed
from tinydistill.models import load_fine_tuned
from tinydistill.onnx_model import is_onnx, read_record
from tinydistill.runs import PhaseFolder


@dataclass(frozen=True)
class Written:
    """The predictions for a split, and the files they are in."""

    split: str
    paths: tuple[Path, ...]
    rows: int
    cut: int  # rows longer than the maximum length
    scores: dict[str, float]  # {} for a split without labels


@dataclass(frozen=True)
class _Reader:
    """A model with what turns a table into its outputs; `cache` is a folder for as long as the command runs."""

    kind: TaskKind
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    lengths: Lengths
    batch_size: int
    precision: str
    cache: Path

    def __call__(self, table: Split, title: str, rows: int = 0) -> tuple[np.ndarray, Dataset]:
        """Outputs (P, C), and the examples.

        With `rows`, that many of them, evenly spread over the file.
        """
        doubts_about_words(table, self.tokenizer)
        data = self.kind.encode(table, self.tokenizer, self.lengths, self.cache)
        if 0 < rows < len(data):
            data = data.select(np.linspace(0, len(data) - 1, rows).round().astype(int))
        collate, kept = self.kind.collate(self.tokenizer), self.kind.outputs
        return predict(self.model, data, collate, self.precision, self.batch_size, title, kept=kept), data


def write_predictions(
    task: Task,
    model_name: str,
    data_dir: Path,
    split: str = "test",
    output: Path | None = None,
    overwrite: bool = False,
    max_length: int = 0,
    doc_stride: int = 0,
    batch_size: int = 64,
    how: str = "auto",
    n_best: int = 0,
) -> Iterator[Written]:
    """Write one prediction for each row of the split, in the file's order; yields each split whose file is there.

    `output` is a file, or a folder for files of the benchmark's names (default: the current folder). Into a folder,
    `test` is all test sets that are submitted and there, such as both of MNLI. Raises UserError if an output is there
    and `overwrite` is not set, or if data or model do not fit.
    """
    if (n_best or doc_stride) and task.kind != "spans":
        raise UserError(f"--n-best and --doc-stride are for questions about a text, and {task.name} has none")
    kind = kind_of(task)
    tables, paths, notes = {}, {}, []
    for each, path in output_paths(task, split, output).items():
        try:
            found = find_file(task, data_dir, each)
        except NotThere as error:
            if each == split:
                raise
            notes.append(f"{path} is not written: {error}")
            continue
        tables[each] = open_table(task, found, each)
        for file in kind.files(path, n_best):
            if file.is_dir() or (file.exists() and not overwrite):
                cure = "" if file.is_dir() else ", or write over it with --overwrite"
                raise UserError(f"{file} is there already; choose another --output{cure}")
        paths[each] = path
    model, reordered = load_fine_tuned(model_name, task)
    notes += reordered
    trained = trained_with(model_name)
    max_length = max_length or trained.get("max_length", task.max_length)
    doc_stride = doc_stride or trained.get("doc_stride", Lengths.doc_stride)
    check_positions(model, f"model {model_name}", max_length)
    tokenizer = load_tokenizer(model_name)
    check_pieces(model.config, tokenizer, f"model {model_name}")
    where = precision.device()
    with tempfile.TemporaryDirectory() as cache:
        read = _Reader(
            kind,
            model.to(where),
            tokenizer,
            Lengths(max_length, doc_stride),
            batch_size,
            precision.resolve(how, where),
            Path(cache),
        )
        if is_unnamed(task, model, model_name):
            notes += _check_unnamed(task, model_name, data_dir, read)
        for note in notes:
            print(f"note: {note}")
        for each, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)  # what cannot be made is told before the work
            outputs, data = read(tables[each], title=f"predict {each}")
            kind.write(Answers(outputs, data, tables[each], model.config, n_best), path)
            is_labelled, rows = "labels" in data.column_names, count_rows(data)
            if (note := _wrong_count(task, each, rows)) and not is_labelled:
                print(f"note: {note}")
            scores = kind.score(outputs, data, model.config) if is_labelled else {}
            yield Written(each, kind.files(path, n_best), rows, count_cut(data), scores)


def output_paths(task: Task, split: str, output: Path | None) -> dict[str, Path]:
    """Split -> the file its predictions go to. A name with an ending, such as `a.tsv`, is a file for one split."""
    if split not in task.files:
        raise UserError(f"{task.name} has no split {split!r}; its splits are {', '.join(task.files)}")
    if output is not None and output.suffix and not output.is_dir():
        return {split: output}
    folder = output or Path()
    submitted = task.submission.files if task.submission else {}
    splits = [each for each in submitted if each.startswith("test")] if split == "test" and "test" in submitted else []
    name = f"{task.name}-{{}}.{kind_of(task).ending}"
    return {each: folder / submitted.get(each, name.format(each)) for each in splits or [split]}


def _wrong_count(task: Task, split: str, rows: int) -> str:
    """A sentence if a server will expect another number of predictions than the file has rows."""
    published = task.hub.rows.get(split, rows) if task.hub and task.submission else rows
    if rows == published:
        return ""
    return f"the {split} file has {rows:,} rows, the one that the server scores {published:,}"


def trained_with(model: str) -> dict[str, Any]:
    """The settings that a model was trained with, if its folder is that of a phase, or was exported from one."""
    if is_onnx(model):
        return read_record(model).get("trained_with", {})
    record = PhaseFolder(Path(model).parent, Path(model).name).read() or {}
    return record.get("settings", {})


def _check_unnamed(task: Task, name: str, data_dir: Path, read: _Reader) -> list[str]:
    """Notes about the labels of a model that does not name them; stops if some rows of dev tell another order."""
    split = task.dev_splits[0]
    try:
        path = find_file(task, data_dir, split)
    except NotThere:
        return [
            f"the model {name} does not name its labels, and there is no dev file to tell their order by; they are "
            f"taken in the order {', '.join(task.labels)}"
        ]
    table = open_table(task, path, split)
    outputs, data = read(table, title="order of the labels", rows=ROWS)
    doubts = read.kind.doubts(name, outputs, data, unnamed=True)
    return [*doubts.notes, *doubts.serious]

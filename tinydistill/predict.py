"""A model's answers to a split, written as the benchmarks' servers take them.

| layout          | a row                                                 | file                                       |
|-----------------|-------------------------------------------------------|--------------------------------------------|
| GLUE            | `index<TAB>prediction` below a header of these names  | `SST-2.tsv`, `MNLI-m.tsv`, `MNLI-mm.tsv`   |
| CLUE            | `{"id": 0, "label": "108"}`                           | `tnews11_predict.json` and the like        |
| any other task  | index, prediction, and a probability for each label   | `<task>-<split>.tsv`                       |

Formats: https://gluebenchmark.com/faq, https://github.com/CLUEbenchmark/CLUE.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks import labels
from glue_tasks.columns import find_columns
from glue_tasks.errors import UserError
from glue_tasks.files import Table, open_table
from glue_tasks.lines import Fault
from glue_tasks.places import NotThere, find_file
from glue_tasks.task import Task
from glue_tasks.writers import TableWriter
from tinydistill.checks import check_pieces, check_positions
from tinydistill.data import column
from tinydistill.encoders import precision
from tinydistill.encoders.load import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.known_words import doubts_about_words
from tinydistill.label_order import ROWS, is_unnamed
from tinydistill.models import load_fine_tuned
from tinydistill.runs import PhaseFolder


@dataclass(frozen=True)
class Written:
    """A file of predictions."""

    split: str
    path: Path
    rows: int
    cut: int  # rows longer than the maximum length
    scores: dict[str, float]  # {} for a split without labels


@dataclass(frozen=True)
class _Reader:
    """A model with what turns a table into its outputs; `cache` is a folder for as long as the command runs."""

    kind: TaskKind
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    batch_size: int
    precision: str
    cache: Path

    def __call__(self, table: Table, title: str, rows: int = 0) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Outputs (examples, num_labels), labels (examples,) or None, and the number of rows cut short.

        With `rows`, that many of them, evenly spread over the file.
        """
        doubts_about_words(table, self.tokenizer)
        data = self.kind.encode(table, self.tokenizer, self.max_length, self.cache)
        if 0 < rows < len(data):
            data = data.select(np.linspace(0, len(data) - 1, rows).round().astype(int))
        outputs = predict(self.model, data, self.kind.collate(self.tokenizer), self.precision, self.batch_size, title)
        references = self.kind.references(data) if "labels" in data.column_names else None
        return outputs, references, int(column(data, "cut").sum())


def write_predictions(
    task: Task,
    model_name: str,
    data_dir: Path,
    split: str = "test",
    output: Path | None = None,
    overwrite: bool = False,
    max_length: int = 0,
    batch_size: int = 64,
    how: str = "auto",
) -> Iterator[Written]:
    """Write one prediction for each row of the split, in the file's order; yields each file that is there.

    `output` is a file, or a folder for files of the benchmark's names (default: the current folder). Into a folder,
    `test` is all test sets that are submitted and there, such as both of MNLI. Raises UserError if an output is there
    and `overwrite` is not set, or if data or model do not fit.
    """
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
        if path.is_dir() or (path.exists() and not overwrite):
            cure = "" if path.is_dir() else ", or write over it with --overwrite"
            raise UserError(f"{path} is there already; choose another --output{cure}")
        paths[each] = path
    model, reordered = load_fine_tuned(model_name, task)
    notes += reordered
    max_length = max_length or trained_length(model_name) or task.max_length
    check_positions(model, f"model {model_name}", max_length)
    tokenizer = load_tokenizer(model_name)
    check_pieces(model.config, tokenizer, f"model {model_name}")
    where = precision.device()
    with tempfile.TemporaryDirectory() as cache:
        kind = kind_of(task)
        read = _Reader(
            kind,
            model.to(where),
            tokenizer,
            max_length,
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
            outputs, references, cut = read(tables[each], title=f"predict {each}")
            header, rows = layout(kind, tables[each], outputs, model.config)
            with TableWriter(path, header) as file:
                for row in rows:
                    file.write(row)
            if (note := _wrong_count(task, each, len(outputs))) and references is None:
                print(f"note: {note}")
            scores = kind.score(outputs, references, model.config) if references is not None else {}
            yield Written(each, path, len(outputs), cut, scores)


def output_paths(task: Task, split: str, output: Path | None) -> dict[str, Path]:
    """Split -> the file its predictions go to. A name with an ending, such as `a.tsv`, is a file for one split."""
    if split not in task.files:
        raise UserError(f"{task.name} has no split {split!r}; its splits are {', '.join(task.files)}")
    if output is not None and output.suffix and not output.is_dir():
        return {split: output}
    folder = output or Path()
    submitted = task.submission.files if task.submission else {}
    splits = [each for each in submitted if each.startswith("test")] if split == "test" and "test" in submitted else []
    ending = "json" if task.submission and task.submission.layout == "clue" else "tsv"
    return {each: folder / submitted.get(each, f"{task.name}-{each}.{ending}") for each in splits or [split]}


def _wrong_count(task: Task, split: str, rows: int) -> str:
    """A sentence if a server will expect another number of predictions than the file has rows."""
    published = task.hub.rows.get(split, rows) if task.hub and task.submission else rows
    if rows == published:
        return ""
    return f"the {split} file has {rows:,} rows, the one that the server scores {published:,}"


def trained_length(model: str) -> int:
    """The maximum length that a model was trained with, if its folder is that of a phase, else 0."""
    record = PhaseFolder(Path(model).parent, Path(model).name).read() or {}
    return record.get("settings", {}).get("max_length", 0)


def layout(
    kind: TaskKind, table: Table, outputs: np.ndarray, config: PreTrainedConfig
) -> tuple[tuple[str, ...] | None, Iterator[tuple[str, ...]]]:
    """The header line, if there is one, and the lines of a file of predictions, as cells.

    outputs: (examples, num_labels), in the order of the table.
    """
    task = kind.task
    of_server = task.submission.layout if task.submission else ""
    answers = kind.answers(outputs, config, labels.written_labels(task))
    numbered = zip(_ids(task, table, len(outputs)), answers, strict=True)
    if of_server == "clue":
        return None, ((json.dumps({"id": _number(i), "label": answer}, ensure_ascii=False),) for i, answer in numbered)
    probabilities = kind.probabilities(outputs)
    if of_server == "glue" or probabilities is None:
        return ("index", "prediction"), numbered
    header = ("index", "prediction", *(f"probability of {name}" for name in task.labels))
    return header, (
        (i, answer, *(f"{share:.6f}" for share in shares))
        for (i, answer), shares in zip(numbered, probabilities, strict=True)
    )


def _ids(task: Task, table: Table, rows: int) -> Iterable[str]:
    """What the rows are called: the column that the task names, if the file has it, else numbers from 0."""
    found = find_columns(task, (task.id_column,), table.columns) if task.id_column else Fault("")
    if isinstance(found, Fault):
        return map(str, range(rows))
    (place,) = found
    return (row.cells[place] for row in table)


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


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
    outputs, references, _ = read(table, title="order of the labels", rows=ROWS)
    assert references is not None
    doubts = read.kind.doubts(name, outputs, references, unnamed=True)
    return [*doubts.notes, *doubts.serious]

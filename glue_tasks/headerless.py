"""Copies of published tables whose header was lost: which columns they have, by their number and their labels."""

from collections.abc import Iterator, Sequence

from glue_tasks.cells import Cells
from glue_tasks.labels import is_unscored, read_label
from glue_tasks.task import Task

_MNLI = (
    "index,promptID,pairID,genre,sentence1_binary_parse,sentence2_binary_parse,sentence1_parse,sentence2_parse,"
    "sentence1,sentence2"
)
_STSB = "index,genre,filename,year,old_index,source1,source2,sentence1,sentence2"
_MRPC = "#1 ID,#2 ID,#1 String,#2 String"
# As published, with what the readers do not need: ids, parses, single annotators. Those without a label are of tests.
_PUBLISHED = {
    "CoLA": ("index,sentence",),
    "SST-2": ("index,sentence",),
    "MRPC": (f"Quality,{_MRPC}", f"index,{_MRPC}"),
    "STS-B": (f"{_STSB},score", _STSB),
    "QQP": ("id,qid1,qid2,question1,question2,is_duplicate", "id,question1,question2"),
    "MNLI": (f"{_MNLI},label1,gold_label", f"{_MNLI},label1,label2,label3,label4,label5,gold_label", _MNLI),
    "QNLI": ("index,question,sentence,label", "index,question,sentence"),
    "RTE": ("index,sentence1,sentence2,label", "index,sentence1,sentence2"),
    "WNLI": ("index,sentence1,sentence2,label", "index,sentence1,sentence2"),
    "AX": ("index,sentence1,sentence2",),
}


def columns_by_number(task: Task, labelled: bool, rows: Sequence[Cells]) -> Cells | None:
    """What the columns of a published task's table without a header are called, if that is certain.

    `rows` are the first ones. By the number of columns and by where all of them have a label or, in a test split, the
    number of the row: where a header has none.
    """
    fitting = set()
    sign = task.label_column if labelled else task.id_column
    for columns in _known_columns(task):
        if len(columns) == len(rows[0]) and sign in columns and (labelled or task.label_column not in columns):
            cells = [row[columns.index(sign)] for row in rows if len(row) == len(columns)]
            if all(is_label(task, cell) if labelled else cell.strip().isdigit() for cell in cells):
                fitting.add(columns)
    return fitting.pop() if len(fitting) == 1 else None


def _known_columns(task: Task) -> Iterator[tuple[str, ...]]:
    """The columns of such tables: of a split as published, or a copy of fewer columns.

    None for a task whose records are mapped: its text in a table would be without that.
    """
    if task.hub is None or task.from_record is not None:
        return
    yield from (tuple(columns.split(",")) for columns in _PUBLISHED.get(task.name, ()))
    yield (*task.text_columns, task.label_column)
    yield (task.label_column, *task.text_columns)
    yield (task.id_column or "id", *task.text_columns, task.label_column)
    # QQP as Wang et al. (2017, arXiv 1702.03814) parted it.
    yield (task.label_column, *task.text_columns, task.id_column or "id")


def is_label(task: Task, written: str) -> bool:
    """Whether a cell holds a label, or says that the benchmark does not score the row."""
    return is_unscored(task, written) or read_label(task, written) not in (None, ())

"""Whether a table has a header, and which columns it has: also of copies of published tables whose header was lost."""

from collections.abc import Sequence

from glue_tasks.cells import SEPARATORS, Cells
from glue_tasks.columns import find_columns, letters_of, wanted_columns
from glue_tasks.labels import is_unscored, read_label
from glue_tasks.lines import Fault
from glue_tasks.task import Task, numbered_column

FIRST_ROWS = 100  # compared with known layouts where a header is missing
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


def find_header(
    task: Task, split: str, labelled: bool, rows: Sequence[Cells]
) -> tuple[bool, Cells, tuple[int, ...]] | Fault:
    """Whether the first row is a header, what the columns are called, and the positions of the wanted ones.

    `task.headerless` says whether there is a header. Where it is the other way round, that is recognised if it is
    certain: a header has all the names, and no label where the task's files have theirs. `rows` are the first ones.
    """
    first = rows[0]
    # As the task says, else by their numbers.
    columns = task.columns or tuple(numbered_column(at) for at in range(1, len(first) + 1))
    found = _header_or_row(task, split, labelled, first, columns)
    if isinstance(found, Fault) or (not found[0] and len(first) != len(columns)):
        by_number = _columns_by_number(task, labelled, rows)
        if by_number:
            return False, by_number, tuple(by_number.index(name) for name in wanted_columns(task, labelled))
    return found


def _header_or_row(
    task: Task, split: str, labelled: bool, first: Cells, columns: Cells
) -> tuple[bool, Cells, tuple[int, ...]] | Fault:
    """By the first row alone; `columns` are those of a file without a header."""
    wanted = wanted_columns(task, labelled)
    by_name = find_columns(task, wanted, _with_numbers(wanted, first))
    by_position = find_columns(task, wanted, columns)
    as_row = by_position if isinstance(by_position, Fault) else (False, columns, by_position)
    # A test split may have labels too.
    label = dict(zip(columns, first, strict=False)).get(task.label_column, "")
    is_row = len(first) == len(columns) and _is_label(task, label)
    if split in task.headerless and (is_row or isinstance(by_name, Fault) or not (labelled or _is_names(task, first))):
        return as_row
    if not isinstance(by_name, Fault):
        if split in task.headerless and len(first) == 1:
            return Fault(f"{first[0]!r} may be the name of the column or a text", "remove it, or write a row again")
        if is_row and not task.columns:
            return Fault(f"{label!r} is a label, and no name of a column", "write header = false, or names above it")
        return True, first, by_name
    if is_row and not isinstance(by_position, Fault):
        return as_row
    if first[0].lstrip().startswith(("{", "[{")):
        return Fault(by_name.what, "the file looks like JSON; give it a name that ends in .jsonl")
    if len(first) == 1 and (sign := next((sign for sign in "\t;|," if sign in first[0]), "")):
        cure = "save the file as .tsv with tabs or as .csv with commas, or say separator in a task file"
        return Fault(by_name.what, f"{by_name.cure}; if {SEPARATORS[sign]} is between them, {cure}")
    if labelled and any(_is_label(task, cell) for cell in first):
        return Fault(by_name.what, f"{by_name.cure}; if this is a row, write the names of the columns above it")
    return by_name


def _with_numbers(wanted: Sequence[str], header: Cells) -> Cells:
    """The header, in which columns that the task knows by their numbers are called so."""
    numbers = [numbered_column(at) for at in range(1, len(header) + 1)]
    return tuple(
        number if number in wanted and number not in header else name
        for number, name in zip(numbers, header, strict=True)
    )


def _is_names(task: Task, cells: Cells) -> bool:
    """Whether every cell is the name of one of the task's columns."""
    aliases = (alias for names in task.column_aliases.values() for alias in names)
    known = {*map(letters_of, (*task.columns, *task.text_columns, *aliases, "id", "idx", "index"))}
    return {*map(letters_of, cells)} <= known


def _columns_by_number(task: Task, labelled: bool, rows: Sequence[Cells]) -> Cells | None:
    """What the columns of a published task's table without a header are called, if that is certain.

    `rows` are the first ones. By the number of columns and by where all of them have a label or, in a test split, the
    number of the row: where a header has none. None for a task whose records are mapped: its text in a table would be
    without that.
    """
    if task.hub is None or task.from_record is not None:
        return None
    texts, label, number = task.text_columns, task.label_column, task.id_column or "id"
    known = {
        *(tuple(columns.split(",")) for columns in _PUBLISHED.get(task.name, ())),
        (*texts, label),
        (label, *texts),
        (number, *texts, label),
        (label, *texts, number),  # QQP as Wang et al. (2017, arXiv 1702.03814) parted it
    }
    fitting = []
    sign = label if labelled else task.id_column
    for columns in known:
        if len(columns) == len(rows[0]) and sign in columns and (labelled or label not in columns):
            cells = [row[columns.index(sign)] for row in rows if len(row) == len(columns)]
            if all(_is_label(task, cell) if labelled else cell.strip().isdigit() for cell in cells):
                fitting.append(columns)
    return fitting[0] if len(fitting) == 1 else None


def _is_label(task: Task, written: str) -> bool:
    """Whether a cell holds a label, or says that the benchmark does not score the row."""
    return is_unscored(task, written) or read_label(task, written) not in (None, ())

"""Files of predictions for sentences and pairs, as the benchmarks' servers take them.

| layout          | a row                                                 | file                                       |
|-----------------|-------------------------------------------------------|--------------------------------------------|
| GLUE            | `index<TAB>prediction` below a header of these names  | `SST-2.tsv`, `MNLI-m.tsv`, `MNLI-mm.tsv`   |
| CLUE            | `{"id": 0, "label": "108"}`                           | `tnews11_predict.json` and the like        |
| any other task  | index, prediction, and a probability for each label   | `<task>-<split>.tsv`                       |

Formats: https://gluebenchmark.com/faq, https://github.com/CLUEbenchmark/CLUE.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from glue_tasks.columns import find_columns
from glue_tasks.files import Table
from glue_tasks.lines import Fault
from glue_tasks.task import Task


def layout(
    table: Table, answers: Sequence[str], probabilities: np.ndarray | None
) -> tuple[tuple[str, ...] | None, Iterator[tuple[str, ...]]]:
    """The header line, if there is one, and the lines of a file of predictions, as cells.

    answers: what is written for each example, in the order of the table. probabilities: (N, C), if there are any.
    """
    task = table.task
    of_server = task.submission.layout if task.submission else ""
    numbered = zip(_ids(table, len(answers)), answers, strict=True)
    if of_server == "clue":
        return None, ((json.dumps({"id": _number(i), "label": answer}, ensure_ascii=False),) for i, answer in numbered)
    if of_server == "glue" or probabilities is None:
        return ("index", "prediction"), numbered
    header = ("index", "prediction", *(f"probability of {name}" for name in task.labels))
    return header, (
        (i, answer, *(f"{share:.6f}" for share in shares))
        for (i, answer), shares in zip(numbered, probabilities, strict=True)
    )


def ending(task: Task) -> str:
    """Of a file's name where the server asks for no other."""
    return "json" if task.submission and task.submission.layout == "clue" else "tsv"


def _ids(table: Table, rows: int) -> Iterable[str]:
    """What the rows are called: the column that the task names, if the file has it, else numbers from 0."""
    task = table.task
    found = find_columns(task, (task.id_column,), table.columns) if task.id_column else Fault("")
    if isinstance(found, Fault):
        return map(str, range(rows))
    (place,) = found
    return (row.cells[place] for row in table)


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text

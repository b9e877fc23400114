"""A row of the hub as the official file has it: which columns, in which order, and what stands for the label.

The hub holds less than the official files. What it lacks is left empty where the file has a header or fixed columns,
so that readers that count columns find each at its place: CoLA's source and mark, the ids of MRPC and QQP, genre, year
and source of STS-B, parses, genre and single annotators of MNLI. From JSON lines it is left out: TNEWS' keywords,
OCNLI's level, genre, prem_id and single annotators, CLUEWSC2020's idx.

The hub's `idx` is the line that a row had in the file it came from, from 0. This is what GLUE's `index` counts, and the
`id` of a test split. It is not the `id` of a training row, which is left out: it names a pair or premise there.

Labels are written as the files write them: codes, where a task has codes. A value of STS-B is written with the fewest
digits that tell it from its neighbours in the hub's 32 bits (3.8, where the official file has 3.800).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glue_tasks.errors import UserError
from glue_tasks.labels import is_unscored, output_order, read_label
from glue_tasks.official_columns import official_columns
from glue_tasks.task import Hub, Task

Values = Mapping[str, Any]  # a row of the hub

# Where CLUE's files name the label beside its code.
_NAMED_IN = {"TNEWS": "label_desc", "IFLYTEK": "label_des"}


@dataclass(frozen=True)
class OfficialRows:
    """How the rows of one split are written: the header (None: the file has none) and the cells of a row."""

    header: tuple[str, ...] | None
    cells: Callable[[Values], tuple[str, ...]]  # JSON lines have one cell, the record


def official_rows(task: Task, hub: Hub, split: str, features: Mapping[str, Any], first: Values) -> OfficialRows:
    """The layout of the task's split for rows of the hub with these features (`datasets.Features`).

    first: the first row; it tells whether a test split has labels, which most come without (-1 on the hub).

    Raises UserError, and so does `cells`, if a text or label is not there or the hub's labels are not the task's.
    """

    def fault(what: str) -> UserError:
        return UserError(
            f"{hub.repository} ({hub.config}), {split}: {what}; get the files of {task.name} from {task.homepage}"
        )

    def source_of(column: str) -> str:
        return hub.columns.get(column, column)

    is_test = split.startswith("test")
    label_source = source_of(task.label_column)
    needed = [source_of(name) for name in task.text_columns] + ([] if is_test else [label_source])
    if missing := [source for source in needed if source not in features]:
        raise fault(f"no column {missing[0]!r}, which {task.name} needs; it has {', '.join(features)}")
    code_of = _codes(task, features.get(label_source), fault)
    labelled = not is_test or code_of(first.get(label_source)) is not None

    def label(row: Values) -> str | None:
        code = code_of(row.get(label_source))
        if (code is None) == labelled:
            raise fault("a row has no label" if labelled else f"a row has the label {code}, the first row has none")
        return code

    def value(row: Values, source: str) -> Any:
        if row[source] is None:
            raise fault(f"a row has nothing in column {source!r}")
        return row[source]

    if task.files[split].endswith(".json"):
        named = {source: name for name, source in hub.columns.items()}
        # The id of a test split; not that of a training row.
        dropped = {label_source} | ({"idx"} if not is_test or "idx" not in named else set())
        names = dict(zip(task.label_codes, task.labels, strict=False))

        def record(row: Values) -> tuple[str]:
            written: dict[str, Any] = {}
            if (code := label(row)) is not None:
                written[task.label_column] = code
                if task.name in _NAMED_IN:
                    written[_NAMED_IN[task.name]] = names[code]
            for source in row:
                if source not in dropped:
                    written[named.get(source, source)] = value(row, source)
            return (json.dumps(written, ensure_ascii=False),)

        return OfficialRows(None, record)

    columns = task.columns if split in task.headerless else official_columns(task, split, labelled)
    # For each column the hub's; None where it has none.
    sources: list[str | None] = []
    for column in columns:
        # The file may know a column by another name than the task: AX's test file has sentence1 for Premise.
        source = source_of(next((name for name, others in task.column_aliases.items() if column in others), column))
        is_number_of_line = source == "idx" and column == "id" and not is_test
        sources.append(source if source in features and not is_number_of_line else None)

    def cells(row: Values) -> tuple[str, ...]:
        code = label(row)
        return tuple(
            (code or "") if source == label_source else "" if source is None else str(value(row, source))
            for source in sources
        )

    return OfficialRows(None if split in task.headerless else columns, cells)


def _codes(task: Task, feature: Any, fault: Callable[[str], UserError]) -> Callable[[Any], str | None]:
    """From a value of the hub's label column to what the official file writes, or None where there is no label."""
    codes = task.label_codes or task.labels
    names = getattr(feature, "names", None)  # of a ClassLabel, whose values are positions among its names
    if names is not None and output_order(task, names) is None:
        raise fault(f"the labels are {', '.join(names)}, those of {task.name} are {', '.join(task.labels)}")
    is_narrow = getattr(feature, "dtype", None) == "float32"

    def code(value: Any) -> str | None:
        if value is None or value == -1:
            return None
        if task.is_regression:
            if not abs(value) < float("inf"):  # also false for nan
                raise fault(f"the label {value} is not a number")
            return str(np.float32(value)) if is_narrow else str(float(value))
        written = names[value] if names is not None else str(value)
        if is_unscored(task, written):
            return written
        label = read_label(task, written)
        if not isinstance(label, int):
            raise fault(f"unknown label {written!r}; {task.name} has {', '.join(codes)}")
        return codes[label]

    return code

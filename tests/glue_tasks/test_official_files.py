"""The readers on the official GLUE files, against a plain reading that shares nothing with them."""

from collections import Counter
from pathlib import Path

import pytest

from glue_tasks import TASKS
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.writers import TableWriter

pytestmark = pytest.mark.realdata

# rows of train, dev and test in the official release
ROWS = {
    "SST-2": (67_349, 872, 1_821),
    "CoLA": (8_551, 1_043, 1_063),
    "MRPC": (3_668, 408, 1_725),
    "RTE": (2_490, 277, 3_000),
}
SPLITS = [
    (name, split, rows)
    for name, counts in ROWS.items()
    for split, rows in zip(("train", "dev", "test"), counts, strict=True)
]
# columns of the texts and of the label
POSITIONS = {
    "SST-2": {"train": ((0,), 1), "dev": ((0,), 1), "test": ((1,), None)},
    "CoLA": {"train": ((3,), 1), "dev": ((3,), 1), "test": ((1,), None)},
    "MRPC": {"train": ((3, 4), 0), "dev": ((3, 4), 0), "test": ((3, 4), None)},
    "RTE": {"train": ((1, 2), 3), "dev": ((1, 2), 3), "test": ((1, 2), None)},
}


def plain_lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")


@pytest.mark.parametrize(("name", "split", "rows"), SPLITS)
def test_every_row_is_read_and_written_back_byte_for_byte(
    shared: Path, tmp_path: Path, name: str, split: str, rows: int
) -> None:
    task = TASKS[name]
    path = find_file(task, shared / "data" / "glue", split)
    table = open_table(task, path, split)
    read = list(table)
    lines = plain_lines(path)
    cells = [tuple(line.split("\t")) for line in lines]
    if not (name == "CoLA" and split != "test"):
        assert table.header == cells.pop(0)
    assert len(read) == rows
    assert [row.cells for row in read] == cells

    text_columns, label_column = POSITIONS[name][split]
    assert [row.texts for row in read] == [tuple(row[i] for i in text_columns) for row in cells]
    if label_column is None:
        assert {row.label for row in read} == {None}
    else:
        ids = {"entailment": 0, "not_entailment": 1} if name == "RTE" else {"0": 0, "1": 1}
        assert [row.label for row in read] == [ids[row[label_column]] for row in cells]

    copy = tmp_path / "copy.tsv"
    with TableWriter(copy, table.header) as writer:
        for row in read:
            writer.write(table.replace_texts(row, row.texts))
    assert copy.read_bytes() == ("\n".join(lines) + "\n").encode()
    assert (writer.rows, writer.breaks_replaced) == (rows, 0)


def test_mrpc_keeps_its_quotes_and_loses_its_byte_order_mark(shared: Path) -> None:
    path = find_file(TASKS["MRPC"], shared / "data" / "glue", "train")
    table = open_table(TASKS["MRPC"], path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert table.header == ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = list(table)
    assert sum(cell.count('"') for row in rows for cell in row.cells) == path.read_bytes().count(b'"') > 2000
    assert rows[0].texts[0].startswith('Amrozi accused his brother , whom he called " the witness " ,')


def test_label_balance_of_sst2_dev(shared: Path) -> None:
    rows = open_table(TASKS["SST-2"], find_file(TASKS["SST-2"], shared / "data" / "glue", "dev"), "dev")
    assert Counter(row.label for row in rows) == {0: 428, 1: 444}

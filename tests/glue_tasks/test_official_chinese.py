"""The readers on the Chinese sets as published, against a plain reading that shares nothing with them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import TASKS
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.writers import TableWriter

pytestmark = pytest.mark.realdata

# folder, and rows of train, dev and test in ../shared/data/README.md
SETS = {
    "TNEWS": ("clue", (53_360, 10_000, 10_000)),
    "OCNLI": ("clue", (10_000, 3_000, 3_000)),
    "CLUEWSC2020": ("clue", (1_244, 304, 290)),
    "ChnSentiCorp": ("zh", (9_600, 1_200, 1_200)),
}
UNSCORED = {("OCNLI", "train"): 15, ("OCNLI", "dev"): 50}  # labelled "-", among them
SPLITS = [
    (name, split, rows)
    for name, (_, counts) in SETS.items()
    for split, rows in zip(("train", "dev", "test"), counts, strict=True)
]
LABELS = {  # as the files write them
    "TNEWS": [str(code) for code in range(100, 117) if code not in (105, 111)],
    "OCNLI": ["neutral", "entailment", "contradiction"],
    "CLUEWSC2020": ["true", "false"],
    "ChnSentiCorp": ["0", "1"],
}


def plain_rows(path: Path) -> list[dict[str, Any]]:
    """The file read in the plainest way there is."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if path.suffix == ".json":
        return [json.loads(line) for line in lines]
    header, *rows = [line.split("\t") for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize(("name", "split", "rows"), SPLITS)
def test_every_row_is_read_and_comes_back_from_a_table(
    shared: Path, tmp_path: Path, name: str, split: str, rows: int
) -> None:
    task, unscored = TASKS[name], UNSCORED.get((name, split), 0)
    path = find_file(task, shared / "data" / SETS[name][0], split)
    table = open_table(task, path, split)
    read = list(table)
    assert table.tally.rows == len(read) == rows - unscored
    assert table.tally.left_out() == {"skipped": 0, "unscored": unscored, "torn": 0}

    plain = plain_rows(path)
    assert len(plain) == rows
    if split == "test":
        assert {row.label for row in read} == {None}
    else:
        plain = [row for row in plain if row["label"] != "-"]
        assert [row.label for row in read] == [LABELS[name].index(row["label"]) for row in plain]
    if name == "CLUEWSC2020":
        # Without the marks it is the text; between them stand the spans.
        for row, published in zip(read, plain, strict=True):
            (text,) = row.texts
            assert f"_{published['target']['span1_text']}_" in text
            assert f"[{published['target']['span2_text']}]" in text
            assert Counter(text) == Counter(published["text"] + "__[]")
    else:
        columns = [column for column in ("sentence", "sentence1", "sentence2", "text_a") if column in plain[0]]
        assert [row.texts for row in read] == [tuple(row[column] for column in columns) for row in plain]

    copy = tmp_path / f"{split}.tsv"
    with TableWriter(copy, table.header) as writer:
        for row in read:
            writer.write(row.cells)
    assert writer.breaks_replaced == 0
    again = open_table(task, copy, split)
    assert [(row.cells, row.texts, row.label) for row in again] == [(row.cells, row.texts, row.label) for row in read]


def test_tnews_has_its_published_balance(shared: Path) -> None:
    task = TASKS["TNEWS"]
    counts = Counter(row.label for row in open_table(task, find_file(task, shared / "data" / "clue", "dev"), "dev"))
    assert len(counts) == 15
    assert min(counts, key=counts.__getitem__) == task.labels.index("news_stock")


def test_a_test_split_has_its_ids(shared: Path) -> None:
    task = TASKS["OCNLI"]
    rows = open_table(task, find_file(task, shared / "data" / "clue", "test"), "test")
    assert [row.cells[0] for row in rows] == [str(number) for number in range(3_000)]

"""The readers on the Chinese sets as published, against a plain reading that shares nothing with them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import Task
from glue_tasks.files import find_file, open_table
from glue_tasks.writers import TableWriter

pytestmark = pytest.mark.realdata

JSON = {"train": "train.json", "dev": "dev.json", "test": "test.json"}


def with_spans(record: Any) -> dict[str, Any]:
    spans = (record["target"]["span1_text"], record["target"]["span2_text"])
    return {**record, "text": f"{record['text']} {spans[0]} = {spans[1]}"}


TNEWS = Task(
    "TNEWS", "", ("sentence",), "label", tuple(map(str, range(15))), ("accuracy",), files=JSON, id_column="id",
    label_codes=tuple(str(code) for code in range(100, 117) if code not in (105, 111)),
)  # fmt: skip
OCNLI = Task(
    "OCNLI", "", ("sentence1", "sentence2"), "label", ("entailment", "neutral", "contradiction"), ("accuracy",),
    files={**JSON, "train": "train.50k.json"}, other_files={"train": ("train.10k.json",)}, unscored_labels=("-",),
    id_column="id",
)  # fmt: skip
CLUEWSC = Task(
    "CLUEWSC2020", "", ("text",), "label", ("true", "false"), ("accuracy",), files=JSON, from_record=with_spans,
    id_column="id",
)  # fmt: skip
CHNSENTICORP = Task("ChnSentiCorp", "", ("sentence",), "label", ("0", "1"), ("accuracy",),
    column_aliases={"sentence": ("text_a",)},
)  # fmt: skip

# rows of train, dev and test in ../shared/data/README.md
SETS = {
    "TNEWS": (TNEWS, "clue", (53_360, 10_000, 10_000)),
    "OCNLI": (OCNLI, "clue", (10_000, 3_000, 3_000)),
    "CLUEWSC2020": (CLUEWSC, "clue", (1_244, 304, 290)),
    "ChnSentiCorp": (CHNSENTICORP, "zh", (9_600, 1_200, 1_200)),
}
UNSCORED = {("OCNLI", "train"): 15, ("OCNLI", "dev"): 50}  # labelled "-", among them
SPLITS = [(name, split, at) for name in SETS for at, split in enumerate(("train", "dev", "test"))]


def plain_rows(name: str, path: Path, labelled: bool) -> list[tuple[tuple[str, ...], Any]]:
    text = path.read_text(encoding="utf-8").removesuffix("\n")
    if name == "ChnSentiCorp":
        cells = [line.split("\t") for line in text.split("\n")[1:]]
        return [((sentence,), int(label) if labelled else None) for label, sentence in cells]
    rows: list[tuple[tuple[str, ...], Any]] = []
    for record in map(json.loads, text.split("\n")):
        if name == "TNEWS":
            texts: tuple[str, ...] = (record["sentence"],)
        elif name == "OCNLI":
            texts = (record["sentence1"], record["sentence2"])
        else:
            target = record["target"]
            texts = (f"{record['text']} {target['span1_text']} = {target['span2_text']}",)
        rows.append((texts, record["label"] if labelled else None))
    if labelled:
        known = {"TNEWS": TNEWS.label_codes, "OCNLI": OCNLI.labels, "CLUEWSC2020": CLUEWSC.labels}[name]
        rows = [(texts, known.index(label)) for texts, label in rows if label != "-"]
    return rows


@pytest.mark.parametrize(("name", "split", "at"), SPLITS)
def test_every_row_is_read_and_comes_back_from_a_table(
    shared: Path, tmp_path: Path, name: str, split: str, at: int
) -> None:
    task, folder, counts = SETS[name]
    unscored = UNSCORED.get((name, split), 0)
    path = find_file(task, shared / "data" / folder, split)
    table = open_table(task, path, split)
    read = list(table)
    assert [(row.texts, row.label) for row in read] == plain_rows(name, path, split != "test")
    assert table.tally.rows == len(read) == counts[at] - unscored
    assert table.tally.left_out() == {"skipped": 0, "unscored": unscored, "torn": 0}

    copy = tmp_path / f"{split}.tsv"
    with TableWriter(copy, table.header) as writer:
        for row in read:
            writer.write(row.cells)
    assert writer.breaks_replaced == 0
    again = open_table(task, copy, split)
    assert [(row.cells, row.texts, row.label) for row in again] == [(row.cells, row.texts, row.label) for row in read]


def test_tnews_has_its_published_balance(shared: Path) -> None:
    rows = open_table(TNEWS, find_file(TNEWS, shared / "data" / "clue", "dev"), "dev")
    counts = Counter(row.label for row in rows)
    assert len(counts) == 15
    assert counts[TNEWS.label_codes.index("114")] == min(counts.values())  # stocks


def test_a_test_split_has_its_ids(shared: Path) -> None:
    rows = open_table(OCNLI, find_file(OCNLI, shared / "data" / "clue", "test"), "test")
    assert [row.cells[0] for row in rows] == [str(number) for number in range(3_000)]

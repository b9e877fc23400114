"""Official files, made into the hub's rows as the hub made them, come back as the official files."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from glue_tasks import TASKS
from glue_tasks.hub import download
from tests.glue_tasks.hub_repository import configuration, features_of, publish, with_rows

pytestmark = pytest.mark.realdata

ROWS = {
    "SST-2": ("glue/SST-2", {"train": 67_349, "dev": 872, "test": 1_821}),
    "CoLA": ("glue/CoLA", {"train": 8_551, "dev": 1_043, "test": 1_063}),
    "MRPC": ("glue/MRPC", {"train": 3_668, "dev": 408, "test": 1_725}),
    "RTE": ("glue/RTE", {"train": 2_490, "dev": 277, "test": 3_000}),
    "TNEWS": ("clue/tnews", {"train": 53_360, "dev": 10_000, "test": 10_000}),
    "ChnSentiCorp": ("zh/chnsenticorp", {"train": 9_600, "dev": 1_200, "test": 1_200}),
}
# What the hub lacks: emptied in a table, dropped from a record.
LACKING = {"CoLA": {"source", "mark"}, "MRPC": {"#1 ID", "#2 ID"}, "TNEWS": {"keywords"}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def table_rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """By Python's csv; without quoting, as the hub's rows were made."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = (line.removesuffix("\n").removesuffix("\r") for line in file)
        yield from csv.DictReader(lines, columns or None, delimiter="\t", quoting=csv.QUOTE_NONE)


def record_rows(path: Path, _: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


@pytest.mark.parametrize("name", ROWS)
def test_official_files_come_back(tmp_path: Path, shared: Path, name: str) -> None:
    folder, counts = ROWS[name]
    assert TASKS[name].hub is not None
    assert TASKS[name].hub.rows == counts
    task = with_rows(name, **counts)
    assert task.hub
    features = features_of(configuration(task))
    label = task.hub.columns.get(task.label_column, task.label_column)
    read: Callable[..., Iterator[dict[str, Any]]] = table_rows if folder.startswith(("glue", "zh")) else record_rows
    official: dict[str, list[dict[str, Any]]] = {}
    published = {}
    for split in counts:
        columns = task.columns if split in task.headerless else ()
        path = shared / "data" / folder / task.files[split]
        official[split] = list(read(path, columns))
        published[split] = [
            {
                **{task.hub.columns.get(ours, ours): row[ours] for ours in task.text_columns},
                **({"idx": number} if "idx" in features else {}),
                # By position in the list of codes or names, as a ClassLabel counts.
                label: (task.label_codes or task.labels).index(row[task.label_column])
                if task.label_column in row
                else -1,
            }
            for number, row in enumerate(official[split])
        ]
    download([task], tmp_path / "data", publish(tmp_path / "copy", task, published))
    for split, rows in official.items():
        columns = task.columns if split in task.headerless else ()
        written = list(read(tmp_path / "data" / name / task.files[split], columns))
        lacking = LACKING.get(name, set())
        if read is record_rows:
            rows = [{key: value for key, value in row.items() if key not in lacking} for row in rows]
        else:
            rows = [{key: "" if key in lacking else value for key, value in row.items()} for row in rows]
        assert written == rows


@pytest.mark.parametrize(("name", "split"), [("SST-2", "dev"), ("SST-2", "test"), ("RTE", "train"), ("RTE", "test")])
def test_where_the_hub_lacks_nothing_the_bytes_are_the_same(
    tmp_path: Path, shared: Path, name: str, split: str
) -> None:
    folder, counts = ROWS[name]
    task = with_rows(name, **{split: counts[split]})
    path = shared / "data" / folder / task.files[split]
    rows = [
        {
            **{column: row[column] for column in task.text_columns},
            "label": (task.label_codes or task.labels).index(row["label"]) if "label" in row else -1,
            "idx": number,
        }
        for number, row in enumerate(table_rows(path, ()))
    ]
    download([task], tmp_path / "data", publish(tmp_path / "copy", task, {split: rows}))
    assert (tmp_path / "data" / name / task.files[split]).read_bytes() == path.read_bytes()

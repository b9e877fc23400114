"""Official files, made into the hub's rows as the hub made them: what is downloaded reads as the official files do."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel

from glue_tasks import TASKS
from glue_tasks.columns import find_columns
from glue_tasks.files import open_table
from glue_tasks.hub import Format, download
from glue_tasks.places import find_file
from tests.glue_tasks.hub_repository import configuration, features_of, publish, with_rows

pytestmark = pytest.mark.realdata

ROWS = {
    "SST-2": ("glue/SST-2", {"train": 67_349, "dev": 872, "test": 1_821}),
    "CoLA": ("glue/CoLA", {"train": 8_551, "dev": 1_043, "test": 1_063}),
    "MRPC": ("glue/MRPC", {"train": 3_668, "dev": 408, "test": 1_725}),
    "RTE": ("glue/RTE", {"train": 2_490, "dev": 277, "test": 3_000}),
    "TNEWS": ("clue/tnews", {"train": 53_360, "dev": 10_000, "test": 10_000}),
    "OCNLI": ("clue/ocnli", {"dev": 2_950, "test": 3_000}),  # of its train file a part is here
    "CLUEWSC2020": ("clue/cluewsc2020", {"train": 1_244, "dev": 304, "test": 290}),  # test is version 1.0
    "ChnSentiCorp": ("zh/chnsenticorp", {"train": 9_600, "dev": 1_200, "test": 1_200}),
}


def official_rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """By Python's json, or its csv without quoting, as the hub's rows were made."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".json":
            yield from map(json.loads, file)
        else:
            lines = (line.removesuffix("\n").removesuffix("\r") for line in file)
            yield from csv.DictReader(lines, columns or None, delimiter="\t", quoting=csv.QUOTE_NONE)


@pytest.mark.parametrize("format", ["parquet", "tsv"])
@pytest.mark.parametrize("name", ROWS)
def test_downloaded_files_read_as_the_official_ones(tmp_path: Path, shared: Path, name: str, format: Format) -> None:
    folder, counts = ROWS[name]
    official = shared / "data" / folder
    task = with_rows(name, **counts)
    assert task.hub
    assert name in ("OCNLI", "CLUEWSC2020") or TASKS[name].hub.rows == counts
    columns = task.hub.columns
    features = features_of(configuration(task))
    label = columns.get(task.label_column, task.label_column)
    names = features[label].names if isinstance(features[label], ClassLabel) else []
    published = {}
    for split in counts:
        rows = official_rows(official / task.files[split], task.columns if split in task.headerless else ())
        scored = (row for row in rows if row.get(task.label_column) not in task.unscored_labels)
        published[split] = [
            {
                **{theirs: row[ours] for theirs in features for ours in (theirs,) if ours in row},
                **{columns.get(ours, ours): row[ours] for ours in task.text_columns},
                **({"idx": row.get("id", number) if split == "test" else number} if "idx" in features else {}),
                label: position(row[task.label_column], names, task.label_codes) if task.label_column in row else -1,
            }
            for number, row in enumerate(scored)
        ]
    download([task], tmp_path / "data", publish(tmp_path / "copy", task, published), format=format)
    for split in counts:
        path = find_file(task, tmp_path / "data", split)
        assert (path.suffix == ".parquet") == (format == "parquet")
        ours, theirs = open_table(task, path, split), open_table(task, official / task.files[split], split)
        assert [(row.texts, row.label) for row in ours] == [(row.texts, row.label) for row in theirs]
        if split == "test" and task.id_column:
            tables = [
                [row.cells[find_columns(task, (task.id_column,), each.columns)[0]] for row in each]
                for each in (ours, theirs)
            ]
            assert tables[0] == tables[1]


def position(written: str, names: list[str], codes: tuple[str, ...]) -> int:
    """Of a label of an official file among the names of the hub's ClassLabel."""
    return names.index(written) if written in names else codes.index(written)

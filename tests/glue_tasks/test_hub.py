"""Downloads, from local copies laid out as the hub's repositories: what is written, left alone and refused."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Features, Value
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glue_tasks import TASKS, Task
from glue_tasks.columns import find_columns
from glue_tasks.files import open_table
from glue_tasks.hub import Format, download
from glue_tasks.places import find_file
from tests.glue_tasks.hub_repository import configuration, features_of, publish, with_rows

# What readers and writers trip over, and what is ordinary.
PIECES = [
    *"ab 情😀\"'\\,;#\u2028\u2029\x85\x0b\x1c\x00\xa0\ufeff",
    "\t",
    "\n",
    "\r\n",
    '""',
    "not",
    "é",
    "NULL",
    "-1",
    "1",
]
WITH_HUB = [name for name, task in TASKS.items() if task.hub and task.kind not in ("tokens", "spans")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for `datasets`, empty."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def any_text(draw: random.Random) -> str:
    return "".join(draw.choices(PIECES, k=draw.randrange(9)))


def any_value(draw: random.Random, feature: Any, position: int) -> Any:
    if isinstance(feature, dict):
        return {name: any_value(draw, each, position) for name, each in feature.items()}
    if isinstance(feature, ClassLabel):
        return draw.randrange(feature.num_classes)
    if isinstance(feature, Value) and feature.dtype == "string":
        return any_text(draw)
    if isinstance(feature, Value) and feature.dtype == "float32":
        return float(np.float32(draw.choice([0, 5, 3.8, 2.5999999, draw.uniform(0, 5)])))
    if isinstance(feature, Value):
        return draw.randrange(2)
    return [any_text(draw) for _ in range(draw.randrange(4))]


def any_rows(task: Task, count: int, seed: int, labelled: bool = True) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    features = features_of(configuration(task))
    assert task.hub
    label = task.hub.columns.get(task.label_column, task.label_column)
    rows = []
    for position in range(count):
        row = {name: any_value(draw, feature, position) for name, feature in features.items()}
        if "idx" in row:
            row["idx"] = position
        if task.name == "CLUEWSC2020":
            row |= winograd(draw)
        if not labelled and label in row:
            row[label] = -1
        rows.append(row)
    return rows


def winograd(draw: random.Random) -> dict[str, Any]:
    """A text with two spans where the record says they are."""
    before, noun, between, pronoun = any_text(draw), "伤口" + any_text(draw), any_text(draw), "它们"
    target = {
        "span1_text": noun,
        "span2_text": pronoun,
        "span1_index": len(before),
        "span2_index": len(before + noun + between),
    }
    return {"text": before + noun + between + pronoun + any_text(draw), "target": target}


# What a table or JSON lines look like on request: the hub's columns, and the names of the labels.
BY_HAND: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("CoLA", "train", {"sentence": 'He "left', "label": 1}, ["sentence\tlabel\tidx", 'He "left\tacceptable\t0']),
    ("SST-2", "test", {"sentence": "bad ", "label": -1, "idx": 4}, ["sentence\tlabel\tidx", "bad \t-1\t4"]),
    (
        "STS-B",
        "train",
        {"sentence1": "A", "sentence2": "B", "label": 3.8, "idx": 2},
        ["sentence1\tsentence2\tlabel\tidx", "A\tB\t3.8\t2"],
    ),
    ("BQ", "dev", {"sentence1": "甲", "sentence2": "乙", "score": 0}, ["sentence1\tsentence2\tscore", "甲\t乙\t0"]),
    (
        "TNEWS",
        "dev",
        {"sentence": "甲\t乙", "label": 5, "idx": 1},
        ['{"sentence": "甲\\t乙", "label": "106", "idx": 1}'],
    ),
    (
        "CSL",
        "test",
        {"corpus_id": 2415, "abst": "文", "keyword": ["甲"], "label": -1, "idx": 1},
        ['{"corpus_id": 2415, "abst": "文", "label": -1, "keyword": ["甲"], "idx": 1}'],
    ),
]


@pytest.mark.parametrize(
    ("name", "split", "row", "lines"), BY_HAND, ids=lambda value: value if isinstance(value, str) else ""
)
def test_text_on_request_has_the_official_name_and_the_columns_of_the_hub(
    tmp_path: Path, name: str, split: str, row: dict[str, Any], lines: list[str]
) -> None:
    task = with_rows(name, **{split: 1})
    features = features_of(configuration(task))
    full = {**({"idx": 0} if "idx" in features else {}), **row}
    source = publish(tmp_path / "copy", task, {split: [full]})
    download([task], tmp_path / "data", source, format="tsv")
    assert lines_of(tmp_path / "data" / name / task.files[split]) == lines


def test_a_file_is_the_one_of_the_hub_to_the_byte(tmp_path: Path) -> None:
    task = with_rows("MNLI", train=3, dev=2, dev_mismatched=2)
    splits = {split: any_rows(task, count, 0) for split, count in {"train": 3, "dev": 2, "dev_mismatched": 2}.items()}
    source = publish(tmp_path / "copy", task, splits)
    download([task], tmp_path / "data", source)
    names = {"train": "train", "validation_matched": "dev_matched", "validation_mismatched": "dev_mismatched"}
    assert {path.name for path in (tmp_path / "data" / "MNLI").iterdir()} == {
        f"{name}.parquet" for name in names.values()
    }
    for theirs, ours in names.items():
        file = source / "mnli" / f"{theirs}-00000-of-00001.parquet"
        assert (tmp_path / "data" / "MNLI" / f"{ours}.parquet").read_bytes() == file.read_bytes()


def reviews(count: int) -> list[dict[str, Any]]:
    return [{"sentence": f"review {i}", "label": i % 2, "idx": i} for i in range(count)]


def test_a_split_in_several_files_becomes_one(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=25)
    source = publish(tmp_path / "copy", task, {"train": reviews(25)})
    whole = source / "sst2" / "train-00000-of-00001.parquet"
    rows = pyarrow.parquet.read_table(whole)
    for shard in range(13):  # more than sort alike without their zeros
        pyarrow.parquet.write_table(rows.slice(2 * shard, 2), whole.with_name(f"train-{shard:05}-of-00013.parquet"))
    whole.unlink()
    download([task], tmp_path / "data", source)
    path = tmp_path / "data" / "SST-2" / "train.parquet"
    assert pyarrow.parquet.read_table(path).equals(rows, check_metadata=True)
    assert [(row.texts, row.label) for row in open_table(task, path)] == [((f"review {i}",), i % 2) for i in range(25)]


@pytest.mark.parametrize("names", [["negative", "positive"], ["positive", "negative"]])
@pytest.mark.parametrize("format", ["parquet", "tsv"])
def test_names_of_labels_in_the_card_alone_are_kept(tmp_path: Path, names: list[str], format: Format) -> None:
    task = with_rows("SST-2", train=3)
    features = Features({**features_of("sst2"), "label": ClassLabel(names=names)})
    source = publish(tmp_path / "copy", task, {"train": reviews(3)}, features)
    file = next((source / "sst2").iterdir())
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).replace_schema_metadata(None), file)
    download([task], tmp_path / "data", source, format=format)
    path = tmp_path / "data" / "SST-2" / f"train.{format}"
    expected = [task.labels.index(names[i % 2]) for i in range(3)]
    assert [row.label for row in open_table(task, path)] == expected
    if format == "parquet":
        assert datasets.Dataset.from_parquet(str(path)).features == features


@pytest.mark.parametrize(("name", "labels"), [("RTE", [0, 1]), ("CLUEWSC2020", [1, 0]), ("TNEWS", [3, 14])])
def test_numbers_without_names_are_in_the_order_of_the_hub(tmp_path: Path, name: str, labels: list[int]) -> None:
    task = with_rows(name, train=2)
    rows = [{**row, "label": label} for row, label in zip(any_rows(task, 2, 0), labels, strict=True)]
    source = publish(tmp_path / "copy", task, {"train": rows})
    (source / "README.md").unlink()
    assert task.hub
    file = next((source / task.hub.config).iterdir())
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).replace_schema_metadata(None), file)
    download([task], tmp_path / "data", source)
    assert [row.label for row in open_table(task, tmp_path / "data" / name / "train.parquet")] == labels


def flat(text: str) -> str:
    """What a table makes of tabs and line breaks: of each run of them one space."""
    kept = ""
    before = ""
    for character in text:
        is_break = character in "\t\r\n"
        if not (is_break and before and before in "\t\r\n"):
            kept += " " if is_break else character
        before = character
    return kept


@pytest.mark.parametrize("format", ["parquet", "tsv"])
@pytest.mark.parametrize("name", WITH_HUB)
def test_what_was_downloaded_reads_as_the_rows_of_the_hub(tmp_path: Path, name: str, format: Format) -> None:
    whole = TASKS[name]
    assert whole.hub
    counts = {split: 3 + position for position, split in enumerate(whole.hub.splits)}
    task = with_rows(name, **counts)
    has_test_labels = "idx" not in features_of(configuration(task))
    rows = {
        split: any_rows(task, count, seed, not split.startswith("test") or has_test_labels)
        for seed, (split, count) in enumerate(counts.items())
    }
    source = publish(tmp_path / "copy", task, rows)
    download([task], tmp_path / "data", source, format=format)
    assert task.hub
    for split, published in rows.items():
        path = find_file(task, tmp_path / "data", split)
        assert path.suffix == (".parquet" if format == "parquet" else Path(task.files[split]).suffix)
        read = list(open_table(task, path, split))
        assert len(read) == len(published)
        clean = flat if path.suffix == ".tsv" else lambda text: text
        assert [row.texts for row in read] == [texts_of(task, row, clean) for row in published]
        if not split.startswith("test"):
            label = task.hub.columns.get(task.label_column, task.label_column)
            feature = features_of(configuration(task))[label]
            for row, hubs in zip(read, published, strict=True):
                if task.is_regression:
                    assert np.float32(row.label) == hubs[label]
                else:
                    assert row.label == label_id(task, feature, hubs[label])


def texts_of(task: Task, row: dict[str, Any], clean: Callable[[str], str]) -> tuple[str, ...]:
    """The texts of a row of the hub, as a model is to get them."""
    assert task.hub
    if task.from_record:
        cells = task.from_record(row)
        return tuple(cells[name] for name in task.text_columns)
    return tuple(clean(row[task.hub.columns.get(name, name)]) for name in task.text_columns)


def label_id(task: Task, feature: Any, value: int) -> int:
    """By the name that the hub gives it, read as English."""
    if not isinstance(feature, ClassLabel):
        return value
    name = feature.int2str(value)
    return task.labels.index(name) if name in task.labels else task.label_codes.index(name)


@pytest.mark.parametrize("format", ["parquet", "tsv"])
@given(
    name=st.sampled_from([name for name in WITH_HUB if name != "CLUEWSC2020"]),  # its texts have spans
    split=st.sampled_from(["train", "dev", "test"]),
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=10), min_size=1, max_size=12),
    data=st.data(),
)
@settings(max_examples=30)
def test_any_text_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    format: Format,
    name: str,
    split: str,
    texts: list[str],
    data: st.DataObject,
) -> None:
    task = TASKS[name]
    assert task.hub
    assume(split in task.hub.splits)
    task = with_rows(name, **{split: len(texts)})
    features = features_of(configuration(task))
    label = hubs_label(task)
    labels = [data.draw(st.integers(0, max(1, task.num_labels - 1))) for _ in texts]
    if split == "test" and "idx" in features:
        labels = [-1] * len(texts)
    others = {"idx": 0, "corpus_id": 0, "keyword": []}
    rows = [
        {column: others.get(column, text[at:] + text[:at]) for at, column in enumerate(features)} | {label: value}
        for text, value in zip(texts, labels, strict=True)
    ]
    folder = tmp_path_factory.mktemp("any")
    download([task], folder / "data", publish(folder / "copy", task, {split: rows}), format=format)
    path = find_file(task, folder / "data", split)
    read = list(open_table(task, path, split))
    clean = flat if path.suffix == ".tsv" else str
    assert [row.texts for row in read] == [texts_of(task, row, clean) for row in rows]
    if split != "test":
        feature = features[label]
        expected = labels if task.is_regression else [label_id(task, feature, value) for value in labels]
        assert [row.label for row in read] == expected


def hubs_label(task: Task) -> str:
    assert task.hub
    return task.hub.columns.get(task.label_column, "label")  # AX has Label


def test_rows_of_a_test_split_have_the_ids_of_the_official_file(tmp_path: Path) -> None:
    """Of all tasks that a server numbers by a column: what is written beside each prediction."""
    for name in WITH_HUB:
        task = with_rows(name, test=5)
        if task.id_column:
            rows = [{**row, **numbered(at)} for at, row in enumerate(any_rows(task, 5, 0, labelled=False))]
            kept = features_of(configuration(task))
            rows = [{column: row[column] for column in kept} for row in rows]
            download([task], tmp_path / "data", publish(tmp_path / name, task, {"test": rows}))
            table = open_table(task, find_file(task, tmp_path / "data", "test"), "test")
            (at,) = find_columns(task, (task.id_column,), table.columns)
            assert [row.cells[at] for row in table] == [str(10 + i) for i in range(5)]


def numbered(at: int) -> dict[str, int]:
    return {"idx": 10 + at, "corpus_id": 10 + at}

"""Downloads, from local copies laid out as the hub's repositories: what is written, left alone and refused."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Value
from hypothesis import assume, given
from hypothesis import strategies as st

from glue_tasks import TASKS, Task
from glue_tasks.files import open_table
from glue_tasks.hub import download
from glue_tasks.official_rows import official_rows
from glue_tasks.writers import TableWriter
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
WITH_HUB = [name for name, task in TASKS.items() if task.hub]


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


# What the official files look like, by hand.
BY_HAND: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("CoLA", "train", {"sentence": 'He "left', "label": 1}, ['\t1\t\tHe "left']),
    ("CoLA", "dev", {"sentence": "Left he.", "label": 0}, ["\t0\t\tLeft he."]),
    ("CoLA", "test", {"sentence": "Who?", "label": -1, "idx": 0}, ["index\tsentence", "0\tWho?"]),
    ("SST-2", "train", {"sentence": "good ", "label": 1}, ["sentence\tlabel", "good \t1"]),
    ("SST-2", "test", {"sentence": "bad", "label": -1, "idx": 4}, ["index\tsentence", "4\tbad"]),
    (
        "MRPC",
        "dev",
        {"sentence1": '"A', "sentence2": "B", "label": 0},
        ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", '0\t\t\t"A\tB'],
    ),
    (
        "MRPC",
        "test",
        {"sentence1": "A", "sentence2": "B", "label": -1, "idx": 7},
        ["index\t#1 ID\t#2 ID\t#1 String\t#2 String", "7\t\t\tA\tB"],
    ),
    (
        "STS-B",
        "train",
        {"sentence1": "A", "sentence2": "B", "label": 3.8, "idx": 2},
        [
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
            "2\t\t\t\t\t\t\tA\tB\t3.8",
        ],
    ),
    (
        "STS-B",
        "test",
        {"sentence1": "A", "sentence2": "B", "label": -1.0, "idx": 2},
        ["index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2", "2\t\t\t\t\t\t\tA\tB"],
    ),
    (
        "QQP",
        "train",
        {"question1": "A?", "question2": "B?", "label": 1, "idx": 3},
        ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "\t\t\tA?\tB?\t1"],
    ),
    (
        "QQP",
        "test",
        {"question1": "A?", "question2": "B?", "label": -1, "idx": 3},
        ["id\tquestion1\tquestion2", "3\tA?\tB?"],
    ),
    (
        "MNLI",
        "train",
        {"premise": "A", "hypothesis": "B", "label": 2, "idx": 5},
        [
            "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
            "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
            "5\t\t\t\t\t\t\t\tA\tB\t\tcontradiction",
        ],
    ),
    (
        "MNLI",
        "dev_mismatched",
        {"premise": "A", "hypothesis": "B", "label": 0, "idx": 5},
        [
            "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
            "sentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
            "5\t\t\t\t\t\t\t\tA\tB\t\t\t\t\t\tentailment",
        ],
    ),
    (
        "MNLI",
        "test_mismatched",
        {"premise": "A", "hypothesis": "B", "label": -1, "idx": 5},
        [
            "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
            "sentence2_parse\tsentence1\tsentence2",
            "5\t\t\t\t\t\t\t\tA\tB",
        ],
    ),
    (
        "QNLI",
        "dev",
        {"question": "A?", "sentence": "B", "label": 1, "idx": 0},
        ["index\tquestion\tsentence\tlabel", "0\tA?\tB\tnot_entailment"],
    ),
    (
        "RTE",
        "train",
        {"sentence1": "A", "sentence2": "B", "label": 0, "idx": 9},
        ["index\tsentence1\tsentence2\tlabel", "9\tA\tB\tentailment"],
    ),
    (
        "WNLI",
        "train",
        {"sentence1": "A", "sentence2": "B", "label": 0, "idx": 9},
        ["index\tsentence1\tsentence2\tlabel", "9\tA\tB\t0"],
    ),
    (
        "AX",
        "test",
        {"premise": "A", "hypothesis": "B", "label": -1, "idx": 1},
        ["index\tsentence1\tsentence2", "1\tA\tB"],
    ),
    ("ChnSentiCorp", "test", {"text": "好", "label": 1}, ["label\ttext_a", "1\t好"]),
    ("LCQMC", "test", {"sentence1": "甲", "sentence2": "乙", "score": 1}, ["sentence1\tsentence2\tlabel", "甲\t乙\t1"]),
    ("BQ", "dev", {"sentence1": "甲", "sentence2": "乙", "score": 0}, ["sentence1\tsentence2\tlabel", "甲\t乙\t0"]),
    (
        "XNLI-zh",
        "dev",
        {"premise": "甲", "hypothesis": "乙", "label": 2},
        ["sentence1\tsentence2\tlabel", "甲\t乙\tcontradictory"],
    ),
]

RECORDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "AFQMC",
        "train",
        {"sentence1": "甲", "sentence2": "乙\t丙", "label": 1, "idx": 3},
        {"label": "1", "sentence1": "甲", "sentence2": "乙\t丙"},
    ),
    (
        "AFQMC",
        "test",
        {"sentence1": "甲", "sentence2": "乙", "label": -1, "idx": 3},
        {"id": 3, "sentence1": "甲", "sentence2": "乙"},
    ),
    (
        "TNEWS",
        "dev",
        {"sentence": "甲", "label": 5, "idx": 1},
        {"label": "106", "label_desc": "news_house", "sentence": "甲"},
    ),
    (
        "IFLYTEK",
        "train",
        {"sentence": "甲", "label": 11, "idx": 1},
        {"label": "11", "label_des": "薅羊毛", "sentence": "甲"},
    ),
    (
        "OCNLI",
        "dev",
        {"sentence1": "甲", "sentence2": "乙", "label": 0, "idx": 1},
        {"label": "neutral", "sentence1": "甲", "sentence2": "乙"},
    ),
    (
        "CMNLI",
        "train",
        {"sentence1": "甲", "sentence2": "乙", "label": 1, "idx": 1},
        {"label": "entailment", "sentence1": "甲", "sentence2": "乙"},
    ),
    (
        "CLUEWSC2020",
        "train",
        {"text": "甲乙", "target": {"span1_text": "甲", "span2_text": "乙", "span1_index": 0, "span2_index": 1}}
        | {"label": 1, "idx": 8},
        {"text": "甲乙", "target": {"span1_text": "甲", "span2_text": "乙", "span1_index": 0, "span2_index": 1}}
        | {"label": "false"},
    ),
    (
        "CLUEWSC2020",
        "test",
        {"text": "甲乙", "target": {"span1_text": "甲", "span2_text": "乙", "span1_index": 0, "span2_index": 1}}
        | {"label": -1, "idx": 8},
        {"text": "甲乙", "target": {"span1_text": "甲", "span2_text": "乙", "span1_index": 0, "span2_index": 1}}
        | {"id": 8},
    ),
    (
        "CSL",
        "dev",
        {"corpus_id": 2963, "abst": "文", "keyword": ["甲", "乙"], "label": 0, "idx": 1},
        {"id": 2963, "abst": "文", "keyword": ["甲", "乙"], "label": "0"},
    ),
    (
        "CSL",
        "test",
        {"corpus_id": 2415, "abst": "文", "keyword": [], "label": -1, "idx": 1},
        {"id": 2415, "abst": "文", "keyword": []},
    ),
]


def one_row(tmp_path: Path, name: str, split: str, row: dict[str, Any]) -> Path:
    task = with_rows(name, **{split: 1})
    features = features_of(configuration(task))
    full = {**({"idx": 0} if "idx" in features else {}), **row}
    source = publish(tmp_path / "copy", task, {split: [full]})
    download([task], tmp_path / "data", source)
    return tmp_path / "data" / name / task.files[split]


@pytest.mark.parametrize(
    ("name", "split", "row", "lines"), BY_HAND, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_table_is_as_the_official_one(
    tmp_path: Path, name: str, split: str, row: dict[str, Any], lines: list[str]
) -> None:
    assert lines_of(one_row(tmp_path, name, split, row)) == lines


@pytest.mark.parametrize(
    ("name", "split", "row", "record"), RECORDS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_record_is_as_the_official_one(
    tmp_path: Path, name: str, split: str, row: dict[str, Any], record: dict[str, Any]
) -> None:
    (line,) = lines_of(one_row(tmp_path, name, split, row))
    assert json.loads(line) == record


def test_every_task_of_the_hub_is_shown_by_hand() -> None:
    assert {name for name, *_ in [*BY_HAND, *RECORDS]} == set(WITH_HUB)


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


@pytest.mark.parametrize("name", WITH_HUB)
def test_what_was_downloaded_reads_as_the_rows_of_the_hub(tmp_path: Path, name: str) -> None:
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
    download([task], tmp_path / "data", source)
    assert task.hub
    for split, published in rows.items():
        path = tmp_path / "data" / name / task.files[split]
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


@given(
    name=st.sampled_from([name for name in WITH_HUB if name != "CLUEWSC2020"]),  # its texts have spans
    split=st.sampled_from(["train", "dev", "test"]),
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=10), min_size=1, max_size=12),
    data=st.data(),
)
def test_any_text_reads_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, split: str, texts: list[str], data: st.DataObject
) -> None:
    task = TASKS[name]
    assert task.hub
    assume(split in task.hub.splits)
    features = features_of(configuration(task))
    label = task.hub.columns.get(task.label_column, task.label_column)
    labels = [data.draw(st.integers(0, max(1, task.num_labels - 1))) for _ in texts]
    if split == "test" and "idx" in features:
        labels = [-1] * len(texts)
    others = {"idx": 0, "corpus_id": 0, "keyword": []}
    rows = [
        {column: others.get(column, text[at:] + text[:at]) for at, column in enumerate(features)} | {label: value}
        for text, value in zip(texts, labels, strict=True)
    ]
    path = tmp_path_factory.getbasetemp() / task.files[split]
    layout = official_rows(task, task.hub, split, features, rows[0])
    with TableWriter(path, layout.header) as table:
        for row in rows:
            table.write(layout.cells(row))
    read = list(open_table(task, path, split))
    clean = flat if path.suffix == ".tsv" else str
    assert [row.texts for row in read] == [texts_of(task, row, clean) for row in rows]
    if split != "test":
        feature = features[label]
        expected = labels if task.is_regression else [label_id(task, feature, value) for value in labels]
        assert [row.label for row in read] == expected

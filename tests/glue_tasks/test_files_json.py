"""JSON lines: records by name, as CLUE publishes them and as others write them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import Task, UserError
from glue_tasks.files import open_table
from glue_tasks.task import Hub
from glue_tasks.writers import TableWriter


def marked(record: Any) -> dict[str, Any]:
    return {"sentence": f"{record['text']} [{record['target']['span']}]", "label": record.get("label")}


PLAIN = Task(
    name="plain",
    summary="",
    text_columns=("sentence",),
    label_column="label",
    labels=("news", "sports"),
    label_codes=("100", "101"),
    metrics=("accuracy",),
    column_aliases={"sentence": ("content", "text_a")},
    unscored_labels=("-",),
    id_column="id",
)
MARKED = Task("marked", "", ("sentence",), "label", ("false", "true"), ("accuracy",), from_record=marked)


def write(path: Path, *records: Any) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_records_are_read_by_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.json",
        {"label": "101", "label_desc": "sports", "sentence": "a\tb\u2028c"},
        "",
        {"content": "d", "label": 100, "keywords": ["x"]},
        {"label": "-", "sentence": "left out"},
        {"LABEL": "sports", "Sentence": 2020},
    )
    table = open_table(PLAIN, path)
    assert table.header == ("sentence", "label")
    assert [(row.line, row.cells, row.texts, row.label) for row in table] == [
        (1, ("a\tb\u2028c", "101"), ("a\tb\u2028c",), 1),
        (3, ("d", "100"), ("d",), 0),
        (5, ("2020", "sports"), ("2020",), 1),
    ]
    assert (table.tally.rows, table.tally.unscored, table.tally.skipped) == (3, 1, 0)


def test_a_test_split_has_its_ids_and_no_labels(tmp_path: Path) -> None:
    of_hub = replace(PLAIN, hub=Hub("clue", "plain", {}, {"id": "idx"}))
    for task, name in ((PLAIN, "id"), (of_hub, "id"), (of_hub, "idx")):
        table = open_table(task, write(tmp_path / "test.json", {"sentence": "a", name: 7}), "test")
        assert table.header == ("id", "sentence")
        assert [(row.cells, row.texts, row.label) for row in table] == [(("7", "a"), ("a",), None)]
    assert open_table(PLAIN, write(tmp_path / "test.json", {"sentence": "a"}), "test").header == ("sentence",)


def test_a_published_record_is_mapped_and_what_is_written_of_it_is_read_back(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.json",
        {"text": "it broke", "target": {"span": "it"}, "label": "true"},
        {"text": "he said", "target": {"span": "he"}, "label": False},
    )
    table = open_table(MARKED, path)
    rows = list(table)
    assert [(row.cells, row.label) for row in rows] == [(("it broke [it]", "true"), 1), (("he said [he]", "false"), 0)]
    with TableWriter(tmp_path / "train_aug.tsv", table.header) as writer:
        for row in rows:
            writer.write(row.cells)
    again = list(open_table(MARKED, tmp_path / "train_aug.tsv"))
    assert [(row.cells, row.label) for row in again] == [(row.cells, row.label) for row in rows]


BAD = [
    ("no object", "[1]", "line 2: JSON, but no object"),
    ("no JSON", "{'sentence': 'a'}", "line 2: no JSON object"),
    ("two on a line", '{"sentence": "a", "label": 100} {}', "line 2: no JSON object"),
    ("no field", {"sentence": "a"}, "line 2: no column named 'label'; plain needs sentence, label"),
    ("null", {"sentence": "a", "label": None}, "line 2: unknown label ''"),
    ("nested", {"sentence": ["a"], "label": "100"}, "line 2: column sentence holds a list, not text"),
    ("label", {"sentence": "a", "label": 1}, "line 2: unknown label '1' in column label; plain has 100, 101"),
    ("half a character", r'{"sentence": "\ud800", "label": 100}', "line 2: column sentence holds half a character"),
    ("twice", '{"sentence": "a", "sentence": "b", "label": 100}', "line 2: .*the field 'sentence' is there twice"),
]


@pytest.mark.parametrize(("record", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_record_is_one_sentence(tmp_path: Path, record: Any, message: str) -> None:
    good = {"sentence": "a", "label": "100"}
    path = write(tmp_path / "train.json", good, record, good)
    with pytest.raises(UserError, match=message) as caught:
        list(open_table(PLAIN, path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_not_as_published_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", {"text": "a", "target": "a", "label": "true"})
    with pytest.raises(UserError, match="line 1: a record that is not as marked was published"):
        list(open_table(MARKED, path))


def test_a_record_of_the_tasks_columns_alone_is_no_published_one(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", {"sentence": "a", "label": "true"})
    assert [(row.texts, row.label) for row in open_table(MARKED, path)] == [(("a",), 1)]
    path = write(tmp_path / "train.json", {"sentence": "a", "text": "b", "label": "true"})
    with pytest.raises(UserError, match="line 1: no field 'target', with which marked was published"):
        list(open_table(MARKED, path))


def test_many_sets_of_fields_are_not_all_kept(tmp_path: Path) -> None:
    records = [{"sentence": "a", "label": "100", f"field {i}": 1} for i in range(2500)]
    assert len(list(open_table(PLAIN, write(tmp_path / "train.json", *records)))) == 2500


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no rows"):
        open_table(PLAIN, write(tmp_path / "train.json", ""))

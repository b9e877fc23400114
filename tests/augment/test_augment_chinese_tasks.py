"""Augmentation of tasks that lie in JSON lines or a CSV: what is written, where, and that it is read back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from augment.__main__ import app, merge_app
from glue_tasks import TASKS
from glue_tasks.files import open_table
from glue_tasks.places import find_file

TNEWS = [
    {"label": "102", "label_desc": "news_entertainment", "sentence": "这部电影很精彩，我喜欢"},
    {"label": "112", "label_desc": "news_travel", "sentence": "酒店房间\t干净安静"},
]
TARGET = {"span1_text": "酒店", "span1_index": 0, "span2_text": "房间", "span2_index": 7}
WSC = [{"target": TARGET, "idx": 1, "label": "false", "text": "酒店的服务好，房间很大。"}]
CSL = [{"id": 7, "abst": "电影故事精彩", "keyword": ["电影", "故事"], "label": "1"}]
OCNLI = [
    {"level": "easy", "sentence1": "房间干净", "sentence2": "房间很大", "label": "neutral", "label0": None, "id": 3},
    {"level": "easy", "sentence1": "房间干净", "sentence2": "房间小", "label": "-", "label0": None, "id": 4},
]


def augment(*args: str) -> str:
    result = CliRunner().invoke(app, [*args, "--device", "cpu", "--multi-piece-words", "fill"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("name", "folder", "file", "records", "header"),
    [
        ("TNEWS", "tnews", "train.json", TNEWS, "sentence\tlabel"),
        ("CLUEWSC2020", "cluewsc2020_public", "train.json", WSC, "text\tlabel"),
        ("CSL", "CSL", "train.jsonl", CSL, "keyword\tabst\tlabel"),
        ("OCNLI", "ocnli", "train.10k.json", OCNLI, "sentence1\tsentence2\tlabel"),
    ],
)
def test_json_lines_become_a_table_of_texts_and_label(
    tmp_path: Path, tiny_chinese: str, name: str, folder: str, file: str, records: list[dict], header: str
) -> None:
    task = TASKS[name]
    (tmp_path / folder).mkdir()
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (tmp_path / folder / file).write_text(content, encoding="utf-8")
    augment("--task", name, "--data-dir", str(tmp_path), "--mlm", tiny_chinese)
    output = tmp_path / folder / "train_aug.tsv"
    assert output.read_text(encoding="utf-8").splitlines()[0] == header
    originals = list(open_table(task, find_file(task, tmp_path, "train")))
    rows = list(open_table(task, output))
    assert len(rows) > len(originals) * 5
    # A tab inside a text became a space; an original stands before its variants.
    kept = [(tuple(text.replace("\t", " ") for text in row.texts), row.label) for row in originals]
    read = [(row.texts, row.label) for row in rows]
    assert read[0] == kept[0]
    assert set(kept) <= set(read)
    assert {row.label for row in rows} == {row.label for row in originals}
    if name == "CLUEWSC2020":
        assert all(text.count("_") == 2 and "[" in text and "]" in text for (text,) in (row.texts for row in rows))


def test_a_task_file_and_its_shards(tmp_path: Path, tiny_chinese: str) -> None:
    task_file = tmp_path / "hotels.toml"
    content = (
        'name = "Hotels"\nlanguage = "zh"\ntext_columns = [2]\nlabel_column = 1\nlabels = ["坏", "好"]\n'
        'header = false\nseparator = ";"\nvariants = 5\n[files]\ntrain = "t.csv"\ndev = "d.csv"\n'
    )
    task_file.write_text(content, encoding="utf-8")
    (tmp_path / "hotels").mkdir()
    (tmp_path / "hotels" / "t.csv").write_text('好;房间干净\n坏;"服务; 不好"\n', encoding="utf-8")
    given = ["--task-file", str(task_file), "--data-dir", str(tmp_path)]
    for shard in ("1/2", "2/2"):
        augment(*given, "--mlm", tiny_chinese, "--block-rows", "1", "--shard", shard)
    merged = CliRunner().invoke(merge_app, given)
    assert merged.exit_code == 0, merged.output
    lines = (tmp_path / "hotels" / "train_aug.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "好\t房间干净"
    assert "坏\t服务; 不好" in lines
    record = json.loads((tmp_path / "hotels" / "train_aug.json").read_text(encoding="utf-8"))
    assert record["inputs"]["task_file"]["name"] == str(task_file)

    assert "already done" in augment(*given, "--mlm", tiny_chinese)
    task_file.write_text(content.replace("variants = 5", 'variants = 5\nsummary = "other"'), encoding="utf-8")
    other = CliRunner().invoke(app, [*given, "--mlm", tiny_chinese, "--multi-piece-words", "fill"])
    assert other.exit_code == 2
    assert "made with other settings or files (task_file)" in other.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--task", "AX"], "AX has no split 'train'; models are evaluated on it, not trained"),
        ([], "no task is named; give the name of one"),
        (["--task", "RTE", "--task-file", "mine.toml"], "the task RTE and the task file mine.toml are both named"),
        (["--task-file", "mine.toml"], "there is no task file mine.toml"),
    ],
)
def test_what_cannot_be_augmented(args: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*args, "--data-dir", str(tmp_path), "--mlm", "none"])
    assert result.exit_code == 2
    assert message in result.stderr

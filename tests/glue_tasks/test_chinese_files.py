"""Made-up rows in the layouts of the Chinese tasks; test_official_chinese.py has the real files."""

import json
from pathlib import Path

import pytest

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from glue_tasks.places import find_file

# task -> file, its rows as published, and what is to be read of each: texts and label id (None: not scored)
MADE_UP = {
    "AFQMC": (
        "train.json",
        '{"sentence1": "双十一花呗提额在哪", "sentence2": "里可以提花呗额度", "label": "0"}\n'
        '{"sentence1": "花呗怎么还", "sentence2": "花呗如何还款", "label": "1"}\n',
        [(("双十一花呗提额在哪", "里可以提花呗额度"), 0), (("花呗怎么还", "花呗如何还款"), 1)],
    ),
    "IFLYTEK": (
        "train.json",
        '{"label": "110", "label_des": "社区超市", "sentence": "三十分钟送达的超市"}\n'
        '{"label": "0", "label_des": "打车", "sentence": "叫一辆车"}\n',
        [(("三十分钟送达的超市",), 110), (("叫一辆车",), 0)],
    ),
    "CMNLI": (
        "train.json",
        '{"sentence1": "新的权利已经足够好了", "sentence2": "每个人都很喜欢最新的福利", "label": "neutral"}\n'
        '{"sentence1": "是的", "sentence2": "对", "label": "-"}\n'
        '{"sentence1": "他来了", "sentence2": "他没来", "label": "contradiction"}\n',
        [(("新的权利已经足够好了", "每个人都很喜欢最新的福利"), 0), (("他来了", "他没来"), 2)],
    ),
    "CSL": (
        "train.json",
        '{"id": 1, "abst": "分区域FFT波束形成算法", "keyword": ["水声学", "FFT"], "label": "1"}\n'
        '{"id": 2, "abst": "设备监控", "keyword": ["设备"], "label": "0"}\n',
        [(("水声学 FFT", "分区域FFT波束形成算法"), 1), (("设备", "设备监控"), 0)],
    ),
    "LCQMC as given out": (
        "LCQMC_train.json",
        '{"gold_label": "1", "sentence1": "喜欢打篮球的男生", "sentence2": "爱打篮球的男生", "ID": "LCQMC_1"}\n',
        [(("喜欢打篮球的男生", "爱打篮球的男生"), 1)],
    ),
    "LCQMC": (
        "train.tsv",
        "text_a\ttext_b\tlabel\n我手机丢了\t我想换手机\t0\n",
        [(("我手机丢了", "我想换手机"), 0)],
    ),
    "LCQMC without a header": (
        "train.txt",
        "我手机丢了\t我想换手机\t0\n大家觉得她好看吗\t大家觉得跑男好看吗？\t0\n",
        [(("我手机丢了", "我想换手机"), 0), (("大家觉得她好看吗", "大家觉得跑男好看吗？"), 0)],
    ),
    "BQ": (
        "train.tsv",
        "sentence1\tsentence2\tlabel\n为什么我的还没有额度\t为啥没有额度！！\t1\n",
        [(("为什么我的还没有额度", "为啥没有额度！！"), 1)],
    ),
    "XNLI-zh": (
        "multinli.train.zh.tsv",
        "premise\thypo\tlabel\n从 概念 上 看\t产品 和 地理\tneutral\n一样 的\t不 一样\tcontradictory\n",
        [(("从 概念 上 看", "产品 和 地理"), 1), (("一样 的", "不 一样"), 2)],
    ),
    "XNLI-zh as downloaded": (
        "train.tsv",
        "sentence1\tsentence2\tlabel\n一样\t不一样\tcontradiction\n",
        [(("一样", "不一样"), 2)],
    ),
    "ChnSentiCorp with another header": (
        "train.csv",
        "label,review\n1,距离川沙公路较近\n",
        [(("距离川沙公路较近",), 1)],
    ),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_rows_in_the_published_layout(name: str, tmp_path: Path) -> None:
    task = TASKS[name.split()[0]]
    file, content, expected = MADE_UP[name]
    folder = tmp_path / (task.folders[0] if task.folders else task.name.lower())
    folder.mkdir()
    (folder / file).write_text(content, encoding="utf-8")
    table = open_table(task, find_file(task, tmp_path, "train"))
    assert [(row.texts, row.label) for row in table] == expected


def test_a_misplaced_span_is_told_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "CLUEWSC2020"
    folder.mkdir()
    good = {"text": "他说她来", "label": "true"}
    good["target"] = {"span1_text": "她", "span1_index": 2, "span2_text": "他", "span2_index": 0}
    bad = {**good, "target": {**good["target"], "span1_index": 1}}
    (folder / "train.json").write_text("".join(json.dumps(row) + "\n" for row in (good, bad)), encoding="utf-8")
    path = find_file(TASKS["CLUEWSC2020"], tmp_path, "train")
    with pytest.raises(UserError, match=r"train.json, line 2: .*span1_text '她' is not at character 1 of the text"):
        list(open_table(TASKS["CLUEWSC2020"], path))
    (row,) = open_table(TASKS["CLUEWSC2020"], path, skip_bad_rows=True)
    assert row.texts == ("[他]说_她_来",)


def test_two_test_sets_of_clue(tmp_path: Path) -> None:
    folder = tmp_path / "tnews_public"
    folder.mkdir()
    for version, file in (("1.1", "test.json"), ("1.0", "test1.0.json")):
        (folder / file).write_text(json.dumps({"id": 0, "sentence": version, "keywords": ""}) + "\n")
    for split, version in (("test", "1.1"), ("test1.0", "1.0")):
        (row,) = open_table(TASKS["TNEWS"], find_file(TASKS["TNEWS"], tmp_path, split), split)
        assert (row.texts, row.label) == ((version,), None)


def test_the_chinese_rows_of_xnli(tmp_path: Path) -> None:
    """Its dev and test files hold fifteen languages; the counted rest is left out when asked."""
    task = TASKS["XNLI-zh"]
    path = tmp_path / "xnli" / "xnli.dev.tsv"
    path.parent.mkdir()
    languages = ["ar", "zh", "en", "zh"]
    rows = (f"{language}\tneutral\ta{number}\tb" for number, language in enumerate(languages))
    path.write_text("\n".join(["language\tgold_label\tsentence1\tsentence2", *rows]) + "\n")
    assert find_file(task, tmp_path, "dev") == path
    with pytest.raises(UserError, match="2 rows cannot be read: line 2 .language is 'ar' .* with --skip-bad-rows"):
        list(open_table(task, path, "dev"))
    for split in ("dev", "test"):
        table = open_table(task, path, split, skip_bad_rows=True)
        assert [row.texts for row in table] == [("a1", "b"), ("a3", "b")]
        assert table.tally.left_out() == {"skipped": 2, "unscored": 0, "torn": 0}


def test_a_test_split_without_a_header_is_known_by_its_labels(tmp_path: Path) -> None:
    """Copies of LCQMC are passed around so; with no label nothing is certain."""
    path = tmp_path / "test.tsv"
    path.write_text("a\tb\t0\nc\td\t1\n")
    rows = list(open_table(TASKS["LCQMC"], path, "test"))
    assert [(row.line, row.texts, row.label) for row in rows] == [(1, ("a", "b"), None), (2, ("c", "d"), None)]
    path.write_text("a\tb\nc\td\n")
    with pytest.raises(UserError, match="line 1: no column named 'sentence1'"):
        open_table(TASKS["LCQMC"], path, "test")

"""CLUE's classification tasks (Xu et al. 2020, arXiv 2004.05986) in the JSON lines of the official release.

Labels are in the order of the dataset `clue/clue`, whose row counts these are; the files write the codes. The hub
leaves out OCNLI's and CMNLI's rows labelled "-", on which the annotators disagreed; the files have them, unscored.

Where the settings come from:
- max_length, teacher_epochs, teacher_learning_rate: BERT-base's in the README of github.com/CLUEbenchmark/CLUE, there
  with batches of 16 (AFQMC, TNEWS), 32 (IFLYTEK), 64 (CMNLI), 8 (CLUEWSC2020) and 4 (CSL). It has none for OCNLI: the
  rate is RoBERTa-wwm-ext's in MiniRBT's README (github.com/iflytek/MiniRBT); length and epochs are ours, BERT's usual.
- prediction_learning_rate: what MiniRBT's README found best for students of 3 to 6 layers: 5e-5 on OCNLI, 1e-4 on TNEWS
  (and on LCQMC, BQ and ChnSentiCorp). It has none for the other tasks of CLUE: 1e-4 there is ours, after those.
- prediction_epochs: ours, within the {2, 3, 5, 10} that MiniRBT tries: 10 below 50,000 rows, else 5, CMNLI 3.
- intermediate_learning_rate, intermediate_epochs, variants (N): ours, for no one has published any: the rate of the
  prediction phase; epochs and N as TinyBERT has them for tasks of GLUE of that many rows.

A submission is JSON lines of `id` and `label`, in files so named (notes on submissions in the same repository, of
2021-09-04). TNEWS and CLUEWSC2020 have two test sets: `test.json` of today's archives is version 1.1, `test1.0.json`
version 1.0. An older archive has version 1.0 as `test.json`: of CLUEWSC2020 it has 290 rows, version 1.1 has 2,574.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from glue_tasks.lines import shown
from glue_tasks.task import Hub, Submission, Task

_FILES = {"train": "train.json", "dev": "dev.json", "test": "test.json"}
_TWO_TESTS = {**_FILES, "test1.0": "test1.0.json"}
_NLI = ("neutral", "entailment", "contradiction")

# `label_des` of the codes 0 to 118, ten a line (labels.json of the release).
_NAMES_OF_IFLYTEK = """
    打车 地图导航 免费WIFI 租车 同城服务 快递物流 婚庆 家政 公共交通 政务
    社区服务 薅羊毛 魔幻 仙侠 卡牌 飞行空战 射击游戏 休闲益智 动作类 体育竞技
    棋牌中心 经营养成 策略 MOBA 辅助工具 约会社交 即时通讯 工作社交 论坛圈子 婚恋社交
    情侣社交 社交工具 生活社交 微博博客 新闻 漫画 小说 技术 教辅 问答交流
    搞笑 杂志 百科 影视娱乐 求职 兼职 视频 短视频 音乐 直播
    电台 K歌 成人 中小学 职考 公务员 英语 视频教育 高等教育 成人教育
    艺术 语言(非英语) 旅游资讯 综合预定 民航 铁路 酒店 行程管理 民宿短租 出国
    工具 亲子儿童 母婴 驾校 违章 汽车咨询 汽车交易 日常养车 行车辅助 租房
    买房 装修家居 电子产品 问诊挂号 养生保健 医疗服务 减肥瘦身 美妆美业 菜谱 餐饮店
    体育咨讯 运动健身 支付 保险 股票 借贷 理财 彩票 记账 银行
    美颜 影像剪辑 摄影修图 相机 绘画 二手 电商 团购 外卖 电影票务
    社区超市 购物咨询 笔记 办公 日程管理 女性 经营 收款 其他
"""

_KINDS_OF_TNEWS = """
    story culture entertainment sports finance house car edu tech military travel world stock agriculture game
"""


# What no table entry can say: a record as published, to one with the task's columns; all else is carried along. A
# ValueError says in a few words what is wrong with the record; the reader of the file adds where it stands.
Record = Mapping[str, Any]


def marked_spans(record: Record) -> Record:
    """CLUEWSC2020: the text with its two spans marked, the noun as `_noun_` and the pronoun as `[pronoun]`.

    As CLUE's baseline marks them (github.com/CLUEbenchmark/CLUE, WscProcessor in processors/clue.py), for a model that
    sees one text. `target` holds each span's text and its place, counted in characters from 0. Raises ValueError if a
    span does not stand at its place, or if the two overlap, for then the marks would be somewhere else.
    """
    text, target = record.get("text"), record.get("target")
    if not isinstance(text, str):
        raise ValueError(f"text is {_shown(text)} and not a string")
    if not isinstance(target, Mapping):
        raise ValueError(f"target is {_shown(target)} and not span1_text, span1_index, span2_text, span2_index")
    spans = []
    for name, (before, after) in (("span1", "__"), ("span2", "[]")):
        span, index = target.get(f"{name}_text"), target.get(f"{name}_index")
        if not isinstance(span, str) or not span:
            raise ValueError(f"target has no {name}_text")
        if type(index) is not int:
            raise ValueError(f"{name}_index is {_shown(index)} and not a number of characters")
        if index < 0 or text[index : index + len(span)] != span:
            raise ValueError(f"{name}_text {span!r} is not at character {index} of the text")
        spans.append((index, index + len(span), before, after))
    first, second = sorted(spans)
    if first[1] > second[0]:
        raise ValueError("span1 and span2 overlap")
    for start, end, before, after in (second, first):  # the later one first: the place of the other stays true
        text = text[:start] + before + text[start:end] + after + text[end:]
    return {**record, "text": text}


def joined_keywords(record: Record) -> Record:
    """CSL: the list of keywords as one text, with a space between, as CLUE's baseline joins them (CslProcessor)."""
    keywords = record.get("keyword")
    if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
        raise ValueError(f"keyword is {_shown(keywords)} and not a list of strings")
    return {**record, "keyword": " ".join(keywords)}


def _shown(value: object) -> str:
    return "missing" if value is None else shown(repr(value), 60)


# What most of the tasks have; each says what it has otherwise.
_PAIR = Task(
    name="",
    summary="",
    text_columns=("sentence1", "sentence2"),
    label_column="label",
    labels=(),
    metrics=("accuracy",),
    files=_FILES,
    id_column="id",
    language="zh",
    intermediate_learning_rate=1e-4,
    prediction_epochs=10,
    prediction_learning_rate=1e-4,
)


def _task(config: str, rows: tuple[int, int, int], id: str = "idx", submitted: str = "", **fields: Any) -> Task:
    """A task by the hub's name for it, its rows there, and the name of its submission where that is another."""
    task = replace(_PAIR, **fields)
    name = submitted or config
    files = {"test": f"{name}11_predict.json", "test1.0": f"{name}10_predict.json"}
    return replace(
        task,
        folders=(f"{config}_public", *task.folders),
        hub=Hub("clue/clue", config, dict(zip(_FILES, rows, strict=True)), {"id": id}),
        submission=Submission("clue", files if "test1.0" in task.files else {"test": f"{name}_predict.json"}),
        homepage=f"https://storage.googleapis.com/cluebenchmark/tasks/{config}_public.zip",
    )


_TASKS = (
    _task(
        "afqmc",
        (34_334, 4_316, 3_861),
        name="AFQMC",
        summary="do the two questions to a payment service ask the same?",
        labels=("not_equivalent", "equivalent"),
        label_codes=("0", "1"),
    ),
    _task(
        "tnews",
        (53_360, 10_000, 10_000),
        name="TNEWS",
        summary="what is the headline about? (15 kinds of news)",
        text_columns=("sentence",),
        labels=tuple(f"news_{kind}" for kind in _KINDS_OF_TNEWS.split()),
        label_codes=tuple(str(code) for code in range(100, 117) if code not in (105, 111)),
        files=_TWO_TESTS,
        prediction_epochs=5,
    ),
    _task(
        "iflytek",
        (12_133, 2_599, 2_600),
        name="IFLYTEK",
        summary="what is the app for, by its description? (119 kinds of apps)",
        text_columns=("sentence",),
        labels=tuple(_NAMES_OF_IFLYTEK.split()),
        label_codes=tuple(map(str, range(119))),
    ),
    _task(
        "ocnli",
        (50_437, 2_950, 3_000),
        submitted="ocnli_50k",
        name="OCNLI",
        summary="does the premise entail, contradict or leave open the hypothesis? (written in Chinese)",
        labels=_NLI,
        files={**_FILES, "train": "train.50k.json"},
        other_files={"train": ("train.json", *(f"train.{size}k.json" for size in (30, 10, 3, 1)))},
        unscored_labels=("-",),
        intermediate_learning_rate=5e-5,
        prediction_epochs=5,
        prediction_learning_rate=5e-5,
    ),
    _task(
        "cmnli",
        (391_783, 12_241, 13_880),
        name="CMNLI",
        summary="does the premise entail, contradict or leave open the hypothesis? (MNLI and XNLI, translated)",
        labels=_NLI,
        column_aliases={"label": ("gold_label",)},
        unscored_labels=("-",),
        teacher_epochs=2,
        teacher_learning_rate=3e-5,
        intermediate_epochs=10,
        prediction_epochs=3,
        variants=10,
    ),
    _task(
        "cluewsc2020",
        (1_244, 304, 2_574),
        submitted="cluewsc",
        name="CLUEWSC2020",
        summary="does the marked pronoun stand for the marked noun?",
        text_columns=("text",),
        labels=("true", "false"),
        files=_TWO_TESTS,
        from_record=marked_spans,
        folders=("cluewsc", "wsc"),
        teacher_epochs=50,
        intermediate_epochs=50,
        variants=30,
    ),
    _task(
        "csl",
        (20_000, 3_000, 3_000),
        id="corpus_id",
        name="CSL",
        summary="are all of the keywords those of the paper with this abstract?",
        text_columns=("keyword", "abst"),
        labels=("some_forged", "all_genuine"),
        label_codes=("0", "1"),
        from_record=joined_keywords,
        max_length=256,
        teacher_epochs=5,
        teacher_learning_rate=1e-5,
    ),
)

CLUE = {task.name: task for task in _TASKS}

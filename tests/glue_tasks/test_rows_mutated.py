"""Files of spans and tokens after random changes: rows that hold together, or one sentence; never a traceback.

MUTATIONS in the environment says how many, for a longer run by hand.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import TASKS, Task, UserError
from glue_tasks.entities import Scheme, to_scheme
from glue_tasks.files import open_table
from glue_tasks.rows import Question

MUTATIONS = int(os.environ.get("MUTATIONS", "2000"))
_BYTES = [
    b"",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe3\x80\x80",
    b'"',
    b"\\",
    b"{",
]
_BYTES += [
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"1e999",
    b"NaN",
    b"-1",
    b"null",
    b"true",
    b"\\ud800",
    b"-DOCSTART-",
    b"O",
    b"B-",
]
_BYTES += [b"B-PER", b"M-PER.NAM", b"I-LOC", b"E-ORG", b"S-X", b"B", b"\xf0\x9f\x98\x80", b"PAR1", b"\x1f\x8b"]
_VALUES = [
    None,
    True,
    0,
    -1,
    10**9,
    2.5,
    "",
    " ",
    "x",
    [],
    {},
    [None],
    [[]],
    {"text": "x"},
    {"text": [], "answer_start": 3},
]
_NAMES = [
    "id",
    "qas",
    "data",
    "paragraphs",
    "context",
    "question",
    "answers",
    "text",
    "answer_start",
    "is_impossible",
    "tags",
]


def changed_bytes(draw: random.Random, content: bytes) -> bytes:
    for _ in range(draw.choice((1, 1, 2, 5))):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice((0, 1, 3, 40, 400)))
        middle = draw.choice((draw.choice(_BYTES), content[start:end][::-1], content[start:end] * 2, draw.randbytes(2)))
        content = content[:start] + middle + content[end:]
    return content[: draw.randrange(len(content) + 1)] if draw.random() < 0.1 else content


def changed_tree(draw: random.Random, value: Any) -> Any:
    """Somewhere inside: a value replaced, left out, or put under another name."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.12:
        return draw.choice(_VALUES)
    at = draw.choice([*value]) if isinstance(value, dict) else draw.randrange(len(value))
    how = draw.random()
    if isinstance(value, list):
        if how < 0.15:
            return value[:at] + value[at + 1 :]
        return [*value[:at], *([value[at]] if how < 0.25 else []), changed_tree(draw, value[at]), *value[at + 1 :]]
    others = {name: each for name, each in value.items() if name != at}
    if how < 0.15:
        return others
    return {**others, (draw.choice(_NAMES) if how < 0.25 else at): changed_tree(draw, value[at])}


def check(task: Task, path: Path) -> str:
    """Reads the file in each way, and returns what came of it as usual: "rows" or "sentence"."""
    came = "rows"
    for split, skip_bad_rows, needs_labels in (("train", False, True), ("dev", True, False), ("test", True, False)):
        try:
            for row in open_table(task, path, split, skip_bad_rows, needs_labels):
                if isinstance(row, Question):
                    assert all(isinstance(text, str) for text in (row.id, *row.texts))
                    assert all(row.texts[1].startswith(*each) or each.start == -1 for each in row.answers or ())
                    assert not row.answers or row.answers[0].start >= 0
                elif row.label is not None:
                    assert isinstance(row.label, tuple)
                    assert len(row.label) == len(row.texts) > 0
                    assert to_scheme([task.labels[each] for each in row.label], Scheme.BIO).broken == 0
        except UserError as error:
            sentence = str(error)
            assert str(path) in sentence
            assert "\n" not in sentence
            assert len(sentence) < 2_000
            came = "sentence" if split == "train" else came
    return came


def cut_json(articles: int, indent: int | None) -> Callable[[Path], bytes]:
    def cut(path: Path) -> bytes:
        content = json.loads(path.read_text(encoding="utf-8"))
        data = [{**each, "paragraphs": each["paragraphs"][:2]} for each in content["data"][:articles]]
        return json.dumps({**content, "data": data}, ensure_ascii=indent is None, indent=indent).encode()

    return cut


def cut_records(path: Path) -> bytes:
    """As the hub has them."""
    records = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"][:4]:
        for paragraph in article["paragraphs"][:1]:
            for each in paragraph["qas"][:2]:
                known = {name: [one[name] for one in each["answers"]] for name in ("text", "answer_start")}
                records.append({**each, "context": paragraph["context"], "answers": known})
    return "".join(json.dumps(each) + "\n" for each in records).encode()


def cut_lines(path: Path) -> bytes:
    return b"".join(path.read_bytes().splitlines(keepends=True)[:200])


def cut_sentences(path: Path) -> bytes:
    blocks = [[line.split(" ") for line in each.split("\n")] for each in cut_lines(path).decode().split("\n\n")[:12]]
    pairs = [[pair for pair in block if len(pair) == 2] for block in blocks]
    records = [{"tokens": [token for token, _ in block], "tags": [tag for _, tag in block]} for block in pairs]
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records).encode()


CASES: list[tuple[str, str, Callable[[Path], bytes], str]] = [
    ("SQuAD1.1", "mrc/squad1.1/dev-v1.1.json", cut_json(2, None), "train.json"),
    ("CMRC2018", "mrc/cmrc2018/cmrc2018_dev.json", cut_json(3, 2), "train.json"),
    ("DRCD", "mrc/drcd/DRCD_dev.json", cut_json(3, None), "train.json"),
    ("SQuAD2.0", "mrc/squad1.1/dev-v1.1.json", cut_records, "train.jsonl"),
    ("MSRA", "ner/msra/dev.txt", cut_lines, "train.txt"),
    ("Weibo", "ner/weibo/train.all.bmes", cut_lines, "train.txt"),
    ("MSRA", "ner/msra/dev.txt", cut_sentences, "train.jsonl"),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "file", "cut", "called"), CASES)
def test_random_changes_of_real_files(
    tmp_path: Path, shared: Path, name: str, file: str, cut: Callable[[Path], bytes], called: str
) -> None:
    content = cut(shared / "data" / file)
    path = tmp_path / called
    draw = random.Random(f"{name} {file} {called}")
    path.write_bytes(content)
    assert check(TASKS[name], path) == "rows"
    came = {"rows": 0, "sentence": 0}
    for _ in range(-(-MUTATIONS // len(CASES))):
        changed = changed_bytes(draw, content)
        if called != "train.txt" and draw.random() < 0.5:
            trees = [json.loads(content)] if called == "train.json" else [*map(json.loads, content.splitlines())]
            at = draw.randrange(len(trees))
            trees[at] = changed_tree(draw, trees[at])
            changed = "\n".join(json.dumps(tree) for tree in trees).encode()
        path.write_bytes(changed)
        came[check(TASKS[name], path)] += 1
    assert all(came.values())  # else the changes are none, or too many
    print(f"{name} {called}: {came}")

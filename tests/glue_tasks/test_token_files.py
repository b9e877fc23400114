"""Files of tagged tokens: lines, JSON, Parquet; what is converted, mended, left out and refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_tasks import TASKS, Task, UserError
from glue_tasks.entities import Entity, Scheme, read_entities, write_tags
from glue_tasks.files import open_table
from glue_tasks.rows import Row
from glue_tasks.task import bio_tags
from glue_tasks.token_files import TokenSplit

CONLL = TASKS["CoNLL2003"]
MSRA = TASKS["MSRA"]
TYPES = CONLL.entity_types
EU = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
ROWS = [(("EU", "rejects", "German"), ["B-ORG", "O", "B-MISC"]), (("Peter", "Blackburn"), ["B-PER", "I-PER"])]


def write(folder: Path, text: str, name: str = "train.txt", **how: Any) -> Path:
    path = folder / name
    path.write_text(text, encoding=how.pop("encoding", "utf-8"), newline="", **how)
    return path


def opened(path: Path, task: Task = CONLL, split: str = "train", **options: Any) -> TokenSplit:
    table = open_table(task, path, split, **options)
    assert isinstance(table, TokenSplit)
    return table


def tagged(rows: Sequence[Row], task: Task = CONLL) -> list[tuple[tuple[str, ...], list[str] | None]]:
    """The tokens of each row and its tags by their names."""
    return [
        (row.texts, [task.labels[each] for each in row.label] if isinstance(row.label, tuple) else None) for row in rows
    ]


def read(path: Path, task: Task = CONLL, split: str = "train", **options: Any) -> list[Any]:
    return tagged(list(opened(path, task, split, **options)), task)


def refused(path: Path, task: Task = CONLL, split: str = "train", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        list(opened(path, task, split, **options))
    return str(error.value).replace(str(path), "FILE")


# Lines.


def test_first_column_is_the_token_and_the_last_its_tag(tmp_path: Path) -> None:
    rows = list(opened(write(tmp_path, EU)))
    assert tagged(rows) == ROWS
    assert [row.line for row in rows] == [3, 7]
    assert all(row.cells == () for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "  \t "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", " \n"),  # white space after tags, and in blank lines
        lambda text: "\ufeff" + text,
        lambda text: "\n\n \n" + text + "\n\n\n",
        lambda text: text.replace("\n\n", "\n\n\t\n\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n\nPeter", "\n-DOCSTART- -X- O O\nPeter"),  # without blank lines around it
    ],
)
def test_white_space_line_ends_and_blank_lines_change_nothing(tmp_path: Path, change: Any) -> None:
    assert read(write(tmp_path, change(EU))) == ROWS


def test_spaces_of_other_kinds_and_breaks_of_other_kinds_part_nothing(tmp_path: Path) -> None:
    tokens = "a\xa0b", "c\u2028d", "e\x85f", "g\x0bh", "-", "O", "B-PER", "﻿x"
    text = "".join(f"{token} O\n" for token in tokens)
    assert read(write(tmp_path, text)) == [(tokens, ["O"] * len(tokens))]


def test_tokens_of_white_space_are_left_out_with_their_tags(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = opened(write(tmp_path, "a B-PER\n\u3000 I-PER\n\tI-PER\nb I-PER\n\n O\n\nc O\n"))
    assert tagged(list(table)) == [(("a", "b"), ["B-PER", "I-PER"]), (("c",), ["O"])]
    assert (table.tally.spaces, table.tally.blank, table.tally.rows) == (3, 1, 2)
    assert "left out tokens of white space, of which models see nothing, 3 in all" in caplog.text
    assert "left out sentences without tokens, 1 in all" in caplog.text


@pytest.mark.parametrize("scheme", Scheme)
def test_every_scheme_is_read_as_bio(tmp_path: Path, scheme: Scheme) -> None:
    entities = [Entity("PER", 0, 2), Entity("PER", 3, 3), Entity("LOC", 4, 5), Entity("ORG", 7, 7)]
    tags = write_tags(entities, 9, scheme)
    table = opened(write(tmp_path, "".join(f"t{at} {tag}\n" for at, tag in enumerate(tags))))
    assert table.scheme is scheme
    assert [row[1] for row in tagged(list(table))] == [write_tags(entities, 9, Scheme.BIO)]
    assert table.tally.mended == 0


def test_a_file_with_too_few_tags_to_tell_is_bio(tmp_path: Path) -> None:
    assert opened(write(tmp_path, "a O\nb O\n")).scheme is Scheme.BIO
    assert opened(write(tmp_path, "a B-PER\nb O\n")).scheme is Scheme.BIO


def test_tags_that_break_the_scheme_are_counted_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "a B-PER\nb I-PER\n\nc O\nd I-LOC\ne I-LOC\nf I-PER\n\ng B-LOC\nh I-LOC\ni B-LOC\n\nj B-PER\n"
    table = opened(write(tmp_path, text))
    assert tagged(list(table))[1] == (("c", "d", "e", "f"), ["O", "B-LOC", "I-LOC", "B-PER"])
    assert (table.tally.mended, table.tally.first_mended) == (2, "in the sentence of line 4")
    assert "2 tags are not as their scheme has them, in the sentence of line 4 the first" in caplog.text
    list(table)
    assert table.tally.mended == 2  # of the last reading alone


def test_a_test_split_is_read_without_its_tags_whatever_they_are(tmp_path: Path) -> None:
    for text in (EU, EU.replace("B-ORG", "B-CITY"), "EU\nrejects\nGerman\n\nPeter\nBlackburn\n"):
        table = opened(write(tmp_path, text), split="test")
        assert not table.is_labelled
        assert tagged(list(table)) == [(tokens, None) for tokens, _ in ROWS]


def test_a_file_without_tags_is_read_where_none_are_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "EU\nrejects\n")
    assert "FILE has no tags; write one for each token, such as O or B-PER" in refused(path)
    table = opened(path, needs_labels=False)
    assert not table.is_labelled
    assert tagged(list(table)) == [(("EU", "rejects"), None)]
    assert "has no tags, and is read without" in caplog.text


REFUSED = [
    ("a O\nb\n", "FILE, line 2: 'b' alone where a token and its tag are expected; a line is a token and its tag"),
    ("a O\nO\nb O\n", "FILE, line 2: 'O' alone where a token and its tag are expected"),
    ("a b O\nc O\n", "FILE, line 2: 2 columns where 3 columns are expected"),
    ("a\nb O\n", "FILE, line 2: 2 columns where 1 column is expected"),
    ("New York B-LOC\nc O\n\nd O\n", "FILE, line 2: 2 columns where 3 columns are expected"),
    ("a O\nb B-CITY\n", "FILE, line 2: unknown tag 'B-CITY'; CoNLL2003 has O, B-PER, I-PER, B-ORG"),
    ("a O\nb PER\n", "FILE, line 2: unknown tag 'PER'"),
    ("a O\n\nb O\nc 3\n", "unknown tag '3'; CoNLL2003 has"),
    ("a B-PER\nb M-PER\nc E-PER\n\nd B-PER\ne I-PER\n", "FILE: there are tags of two schemes, M-PER of BMES and I-PER"),
    ("", "FILE has no sentence; it is empty, or holds blank lines alone"),
    ("\n\r\n \n", "FILE has no sentence; it is empty, or holds blank lines alone"),
    ("-DOCSTART- -X- O O\n\n", "FILE has no sentence"),
    (" O\n", "FILE has no rows that can be used"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    said = refused(write(tmp_path, text))
    assert said.startswith(sentence) if sentence.startswith("FILE") else sentence in said


def test_bad_sentences_are_left_out_when_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "a O\nb\n\nc B-PER\n\nd B-CITY\n\ne O\n")
    assert "FILE: 2 rows cannot be read: line 2 ('b' alone" in refused(path)
    table = opened(path, skip_bad_rows=True)
    assert tagged(list(table)) == [(("c",), ["B-PER"]), (("e",), ["O"])]
    assert table.tally.skipped == 2
    assert "skipped what cannot be read, 2 in all: line 2 " in caplog.text
    assert ", line 6 (unknown tag" in caplog.text


def test_bytes_that_are_no_text_are_a_fault_of_their_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(b"a O\nb O\n\n\xff O\nc O\n")
    assert "FILE, line 4: byte 1 of the line (0xff) is not UTF-8" in refused(path)
    assert read(path, skip_bad_rows=True) == [(("a", "b"), ["O", "O"])]


def test_a_long_sentence_and_a_file_of_one_line(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a B-PER")) == [(("a",), ["B-PER"])]
    long = read(write(tmp_path, "字 O\n" * 100_000))
    assert [(len(tokens), set(tags)) for tokens, tags in long] == [(100_000, {"O"})]


tags_of = st.sampled_from(["O", "O", *(f"{prefix}-{each}" for prefix in "BI" for each in TYPES)])
token = st.text(st.characters(codec="utf-8", exclude_characters=" \t\r\n"), min_size=1, max_size=5).filter(
    lambda text: not text.isspace() and not text.startswith(("-DOCSTART-", "\ufeff", "\x1f\x8b", "PK", "PAR1"))
)


@settings(max_examples=150)
@given(
    sentences=st.lists(st.lists(st.tuples(token, tags_of), min_size=1, max_size=6), min_size=1, max_size=6),
    between=st.sampled_from([" ", "\t", " \t "]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_tokens_and_tags_read_back_with_their_entities(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]], between: str, end: str
) -> None:
    if "\0" in sentences[0][0][0]:
        return  # of every other byte 0 the file is taken for UTF-16
    folder = tmp_path_factory.mktemp("any")
    lines = [[f"{text}{between}{tag}{end}" for text, tag in sentence] for sentence in sentences]
    path = folder / "train.txt"
    path.write_bytes(end.join(map("".join, lines)).encode())
    records = [{"tokens": [text for text, _ in each], "tags": [tag for _, tag in each]} for each in sentences]
    other = write(folder, "\n".join(map(json.dumps, records)), "train.jsonl")
    expected = [(tuple(each["tokens"]), read_entities(each["tags"])) for each in records]
    for file in (path, other):
        assert [(tokens, read_entities(tags)) for tokens, tags in read(file)] == expected
        assert all(tags == write_tags(read_entities(tags), len(tags), Scheme.BIO) for _, tags in read(file))


# Records.


def write_records(folder: Path, *records: Any, name: str = "train.jsonl") -> Path:
    return write(folder, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), name)


@pytest.mark.parametrize("names", [("tokens", "tags"), ("words", "ner"), ("tokens", "ner_tags"), ("text", "labels")])
def test_records_of_tokens_and_tags(tmp_path: Path, names: tuple[str, str]) -> None:
    records = [dict(zip(names, (list(tokens), tags), strict=True)) for tokens, tags in ROWS]
    assert read(write_records(tmp_path, *({"id": "1", **record} for record in records))) == ROWS
    assert read(write(tmp_path, json.dumps(records, indent=1), "train.json")) == ROWS


def test_numbers_are_read_in_the_order_of_the_hub(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [{"tokens": list(tokens), "ner_tags": [CONLL.labels.index(tag) for tag in tags]} for tokens, tags in ROWS]
    assert read(write_records(tmp_path, *records)) == ROWS
    assert "the tags are numbers, and are read in the order of eriktks/conll2003: 0 O, 1 B-PER, 2 I-PER" in caplog.text
    # Weibo's hub numbers O last.
    weibo = TASKS["Weibo"]
    records = [{"tokens": ["a", "b", "c"], "ner_tags": [16, 6, 14]}]
    assert read(write_records(tmp_path, *records), weibo) == [(("a", "b", "c"), ["O", "B-PER.NAM", "I-PER.NAM"])]
    own = replace(CONLL, name="own", hub=None)
    said = refused(write_records(tmp_path, {"tokens": ["a"], "tags": [1]}), own)
    assert "line 1, token 1: unknown tag '1'; own has" in said
    assert "if the file numbers them, say how in label_codes" in said
    coded = replace(own, label_codes=tuple(str(10 + at) for at in range(len(own.labels))))
    assert read(write_records(tmp_path, {"tokens": ["a"], "tags": [11]}), coded) == [(("a",), ["B-PER"])]


def test_the_hubs_parquet(tmp_path: Path) -> None:
    names = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]  # not in the task's order
    features = Features({"tokens": ListOf(Value("string")), "ner_tags": ListOf(ClassLabel(names=names))})
    columns = {"tokens": [["a", "b", "c"], [], ["d"]], "ner_tags": [[1, 3, 4], [], [0]]}
    path = tmp_path / "train.parquet"
    Dataset.from_dict(columns, features=features).to_parquet(path)
    table = opened(path)
    assert tagged(list(table)) == [(("a", "b", "c"), ["B-PER", "I-PER", "O"]), (("d",), ["B-LOC"])]
    assert table.tally.blank == 1  # as the last row of the hub's MSRA


def test_entities_as_cluener_has_them(tmp_path: Path) -> None:
    cluener = TASKS["CLUENER"]
    record = {
        "text": "彭小军认为 Kim K",
        "label": {"name": {"彭小军": [[0, 2]], "Kim K": [[6, 10]]}, "address": {"认": [[3, 3]]}},
    }
    path = write_records(tmp_path, record, {"text": "无", "label": {}}, name="train.json")
    tags = ["B-name", "I-name", "I-name", "B-address", "O", *["B-name", *["I-name"] * 3]]
    table = opened(path, cluener)
    assert tagged(list(table), cluener) == [(tuple("彭小军认为KimK"), tags), (("无",), ["O"])]
    assert table.tally.spaces == 2
    assert read(write_records(tmp_path, {"id": 0, "text": "四川"}, name="test.json"), cluener, "test") == [
        (("四", "川"), None)
    ]


RECORDS_REFUSED: list[tuple[Any, str]] = [
    ({"tokens": ["a", "b"], "tags": ["O"]}, "FILE, line 1: 2 tokens and 1 tags; write a tag for each token"),
    ({"tokens": [], "tags": ["O"]}, "FILE, line 1: 0 tokens and 1 tags"),
    ({"tokens": ["a", 3], "tags": ["O", "O"]}, "FILE, line 1: column tokens is neither a list of tokens nor a text"),
    ({"tokens": 3, "tags": ["O"]}, "FILE, line 1: column tokens is neither"),
    ({"tokens": None, "tags": ["O"]}, "FILE, line 1: column tokens is neither"),
    ({"tokens": ["a"], "tags": "O"}, "FILE, line 1: column tags is no list of tags"),
    ({"tokens": ["a"], "tags": [True]}, "FILE, line 1: column tags is no list of tags"),
    ({"tokens": ["a"], "tags": [None]}, "FILE, line 1: column tags is no list of tags"),
    ({"tokens": ["a", "b"], "tags": ["O", "B-CITY"]}, "FILE, line 1, token 2: unknown tag 'B-CITY'"),
    ({"tokens": ["\ud800"], "tags": ["O"]}, "FILE, line 1: column tokens holds half a character"),
    ({"words_": ["a"], "tags": ["O"]}, "FILE, line 1: no column named 'tokens'"),
    ({"tokens": [], "tags": []}, "FILE has no rows that can be used"),
    ({"text": "ab", "label": {"PER": {"b": [[0, 0]]}}}, "FILE, line 1: the entity 'b' is not at [0, 0]; count from 0"),
    ({"text": "ab", "label": {"PER": {"b": [[1, 2]]}}}, "FILE, line 1: the entity 'b' is not at [1, 2]"),
    ({"text": "ab", "label": {"PER": {"ab": [[0, 1]], "b": [[1, 1]]}}}, "overlap"),
    ({"text": "ab", "label": {"PER": [0, 1]}}, "FILE, line 1: the entities of type PER are no object"),
    ({"text": "ab", "label": {"CITY": {"a": [[0, 0]]}}}, "unknown tag 'B-CITY'"),
    ({"text": "ab", "label": {"PER": {"a": "x"}}}, "FILE, line 1: the entity 'a' is not at x"),
]


@pytest.mark.parametrize(("record", "sentence"), RECORDS_REFUSED)
def test_records_that_cannot_be_read(tmp_path: Path, record: Any, sentence: str) -> None:
    said = refused(write(tmp_path, json.dumps(record) + "\n", "train.jsonl"))
    assert said.startswith(sentence) if sentence.startswith("FILE") else sentence in said


def test_a_record_without_tags_among_others_is_a_fault(tmp_path: Path) -> None:
    path = write_records(tmp_path, {"tokens": ["a"]}, {"tokens": ["b"], "tags": ["O"]})
    assert refused(path) == "FILE, line 1: a sentence without tags; other sentences of the file have some"
    assert read(path, skip_bad_rows=True) == [(("b",), ["O"])]


def test_untyped_tags(tmp_path: Path) -> None:
    words = replace(CONLL, name="words", labels=bio_tags(""), hub=None)
    assert words.labels == ("O", "B", "I")
    assert read(write(tmp_path, "a B\nb M\nc E\nd S\n"), words) == [(("a", "b", "c", "d"), ["B", "I", "I", "B"])]
    assert "unknown tag 'B-PER'" in refused(write(tmp_path, "a B-PER\n"), words)


# Real files.


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "file", "sentences", "tokens", "entities", "mended"),
    [
        ("MSRA", "msra/dev.txt", 4_631, 172_601, 6_192, 11),
        ("Weibo", "weibo/train.all.bmes", 1_350, 73_778, 1_895, 11),
        ("Weibo", "weibo/dev.all.bmes", 270, 14_509, 389, 0),
    ],
)
def test_real_files_against_a_plain_reading(
    shared: Path, name: str, file: str, sentences: int, tokens: int, entities: int, mended: int
) -> None:
    task, path = TASKS[name], shared / "data" / "ner" / file
    table = opened(path, task, "dev")
    rows = list(table)
    assert (len(rows), sum(len(row.texts) for row in rows)) == (sentences, tokens)
    assert table.tally.mended == mended
    blocks = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
    plain = [[line.split(" ") for line in block.split("\n")] for block in blocks]
    assert [row.texts for row in rows] == [tuple(token for token, _ in sentence) for sentence in plain]
    found = [read_entities(tags) for _, tags in tagged(rows, task) if tags is not None]
    assert found == [read_entities([tag for _, tag in sentence]) for sentence in plain]
    assert sum(map(len, found)) == entities

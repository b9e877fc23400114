"""Files that are not as released: what can be read without guessing is read, what cannot is one sentence."""

import gzip
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table
from glue_tasks.task import Hub

SST2, COLA, RTE, STSB, MRPC = (TASKS[name] for name in ("SST-2", "CoLA", "RTE", "STS-B", "MRPC"))
CHINESE = Task(
    name="reviews",
    summary="",
    text_columns=("sentence",),
    label_column="label",
    labels=("negative", "positive"),
    label_codes=("0", "1"),
    metrics=("accuracy",),
    columns=("id", "sentence"),
    headerless=("test",),
    column_aliases={"sentence": ("content", "text_a")},
)
LABEL_FIRST = Task("pairs", "", ("a", "b"), "label", ("no", "yes"), ("accuracy",))
HUB = replace(
    MRPC, hub=Hub("glue", "mrpc", {}, {"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"})
)
POSITIONS = replace(SST2, columns=("label", "sentence"))
UNSCORED = Task("unscored", "", ("sentence",), "label", ("no", "yes"), ("accuracy",), unscored_labels=("-",))

GOOD_BAD = [("good", 1), ("bad", 0)]
READ: list[tuple[str, Task, str, bytes, list]] = [
    ("CR ends", SST2, "train.tsv", b"sentence\tlabel\rgood\t1\r\rbad\t0", GOOD_BAD),
    ("CR CR LF ends", SST2, "train.tsv", b"sentence\tlabel\r\r\ngood\t1\r\r\nbad\t0\r\r\n", GOOD_BAD),
    ("another name", CHINESE, "train.tsv", b"label\ttext_a\n1\tgood\n0\tbad\n", GOOD_BAD),
    ("another name, shouted", CHINESE, "train.tsv", b"Label \tCONTENT\n1\tgood\n0\tbad\n", GOOD_BAD),
    ("the name before the alias", CHINESE, "train.tsv", b"content\tsentence\tlabel\nx\tgood\t1\ny\tbad\t0\n", GOOD_BAD),
    ("other columns twice", SST2, "train.tsv", b"x\tsentence\tx\tlabel\n1\tgood\t2\t1\n3\tbad\t4\t0\n", GOOD_BAD),
    ("tabs after every row", SST2, "train.tsv", b"sentence\tlabel\t\t\ngood\t1\t\t\nbad\t0\t\t\n", GOOD_BAD),
    ("tabs after the header", SST2, "train.tsv", b"sentence\tlabel\t\t\ngood\t1\nbad\t0\n", GOOD_BAD),
    ("tabs after a row", SST2, "train.tsv", b"sentence\tlabel\ngood\t1\nbad\t0\t\t\n", GOOD_BAD),
    ("no last end", SST2, "train.tsv", b"sentence\tlabel\ngood\t1\nbad\t0", GOOD_BAD),
    ("spaces around labels", SST2, "train.tsv", "sentence\tlabel\ngood\t 1 \nbad\t\u30000\xa0\n".encode(), GOOD_BAD),
    ("labels by name", SST2, "train.tsv", b"sentence\tlabel\ngood\tPositive\nbad\tnegative\n", GOOD_BAD),
    ("labels of a column with gaps", SST2, "train.tsv", b"sentence\tlabel\ngood\t1.0\nbad\t0.0\n", GOOD_BAD),
    ("labels as truth", SST2, "train.tsv", b"sentence\tlabel\ngood\tTrue\nbad\tFalse\n", GOOD_BAD),
    (
        "quotes everywhere",
        SST2,
        "train.tsv",
        b'"sentence"\t"label"\n"good"\t"1"\n"a ""b""\tc"\t"0"\n',
        [("good", 1), ('a "b"\tc', 0)],
    ),
    ("quotes around texts", SST2, "train.tsv", b'"sentence"\t"label"\n"good"\t1\n"bad"\t0\n', GOOD_BAD),
    (
        "quotes that are text",
        SST2,
        "train.tsv",
        b'sentence\tlabel\n"good"\t1\n" a "" b\t0\n',
        [('"good"', 1), ('" a "" b', 0)],
    ),
    (
        "CSV",
        SST2,
        "train.csv",
        b'sentence,label\r\n"good",1\r\n"a ""b"",\r\nc",0\r\n',
        [("good", 1), ('a "b",\r\nc', 0)],
    ),
    ("CSV, commas after every row", SST2, "train.csv", b"sentence,label,,\ngood,1,,\nbad,0,,\n", GOOD_BAD),
    (
        "CSV, a space after the comma",
        SST2,
        "train.csv",
        b'id, sentence, label\n1, "Hello, there", positive\n2,  "a ""b"",\nc", 0\n3, plain "d", 1\n',
        [("Hello, there", 1), ('a "b",\nc', 0), ('plain "d"', 1)],
    ),
    (
        "CSV, a space after the comma that is text",
        SST2,
        "train.csv",
        b'sentence,label\n" ""a"", ""b""",1\n "c" d,0\n',
        [(' "a", "b"', 1), (' "c" d', 0)],
    ),
    ("CSV, CR ends", SST2, "train.csv", b'sentence,label\rgood,1\r"bad",0\r', GOOD_BAD),
    ("CSV, blank lines", SST2, "train.csv", b"\nsentence,label\n\ngood,1\nbad,0\n\n", GOOD_BAD),
    ("header where there is none", COLA, "train.tsv", b"label\tsentence\n1\tgood\n0\tbad\n", GOOD_BAD),
    ("no header where there is one", POSITIONS, "train.tsv", b"1\tgood\n0\tbad\n", GOOD_BAD),
    (
        "packed under another name",
        SST2,
        "train.tsv",
        gzip.compress(b"sentence\tlabel\ngood\t1\nbad\t0\n", mtime=0),
        GOOD_BAD,
    ),
    ("named as packed, and not", SST2, "train.csv.gz", b"sentence,label\ngood,1\nbad,0\n", GOOD_BAD),
    ("empty text", SST2, "train.tsv", b"sentence\tlabel\n\t1\n", [("", 1)]),
    (
        "JSON array",
        SST2,
        "train.json",
        b'\n[ {"sentence": "good", "label": true},\n{"label": 0, "sentence": "bad"} ]\n',
        GOOD_BAD,
    ),
    (
        "the hub's names",
        HUB,
        "train.csv",
        b"sentence1,sentence2,label,idx\ngood,x,1,0\nbad,y,0,1\n",
        [("good", 1), ("bad", 0)],
    ),
    ("unscored", UNSCORED, "train.tsv", b"sentence\tlabel\ngood\tyes\nx\t - \nbad\tno\n", GOOD_BAD),
]


@pytest.mark.parametrize(
    ("task", "name", "content", "rows"), [case[1:] for case in READ], ids=[case[0] for case in READ]
)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_what_is_certain_is_read(
    tmp_path: Path, task: Task, name: str, content: bytes, rows: list[tuple[str, int]], bom: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content if content.startswith(b"\x1f\x8b") else bom + content)
    assert [(row.texts[0], row.label) for row in open_table(task, path)] == rows


REFUSED: list[tuple[str, Task, str, bytes, str]] = [
    ("UTF-16", SST2, "train.tsv", "sentence\tlabel\ngood\t1\n".encode("utf-16"), "is UTF-16, not UTF-8"),
    ("UTF-16 without mark", SST2, "train.tsv", "sentence\tlabel\n".encode("utf-16-be"), "is UTF-16, not UTF-8"),
    ("a spreadsheet", SST2, "train.csv", b"PK\x03\x04\x14\x00", "is a zip archive or a spreadsheet"),
    ("Parquet by another name", SST2, "train.tsv", b"PAR1\x15\x04", "is Parquet, not text"),
    ("Parquet cut off", SST2, "train.parquet", b"PAR1\x15\x04", "cannot be read as Parquet"),
    ("a needed column twice", SST2, "train.tsv", b"sentence\tlabel\tlabel\na\t1\t1\n", "2 columns named 'label'"),
    (
        "twice but for case",
        SST2,
        "train.tsv",
        b"Sentence\tSENTENCE\tlabel\na\tb\t1\n",
        "line 1: 2 columns named 'sentence'",
    ),
    (
        "no header",
        LABEL_FIRST,
        "train.tsv",
        b"good\tx\tyes\nbad\ty\tno\n",
        "line 1: no column named 'a'.*if this is a row, write",
    ),
    ("a tab in an unquoted cell", SST2, "train.tsv", b"sentence\tlabel\na\tb\t1\n", "line 2: 3 columns where 2"),
    ("a tab after an escape", SST2, "train.tsv", b"sentence\tlabel\na\\\tb\t1\n", "line 2: 3 columns where 2"),
    (
        "an empty text shifted out",
        LABEL_FIRST,
        "train.tsv",
        b"label\ta\tb\nyes\ta1\ta2\t\n",
        "line 2: 4 columns where 3",
    ),
    ("ends of two kinds", SST2, "train.tsv", b"sentence\tlabel\ngood\t1\rbad\t0\n", "line 2: 3 columns where 2"),
    (
        "a quotation that does not end",
        SST2,
        "train.csv",
        b'sentence,label\n"good,1\nbad,0\n',
        "line 2: quotation marks or line breaks that",
    ),
    (
        "a quotation that ends early",
        SST2,
        "train.csv",
        b'sentence,label\n\n"good" film,1\n',
        "line 3: quotation marks or line breaks that",
    ),
    (
        "backslashes for quotes",
        SST2,
        "train.tsv",
        b'"sentence"\t"label"\n"a \\"b\\""\t"1"\n',
        "line 2: quotation marks or line breaks that",
    ),
    (
        "not UTF-8 in CSV",
        SST2,
        "train.csv",
        b'sentence,label\na,1\n"\n\xe9",1\n',
        r"line 3: byte 1 of the line \(0xe9\)",
    ),
    (
        "semicolons",
        SST2,
        "train.csv",
        b"sentence;label\na;1\n",
        "the file has sentence;label; if a semicolon is between them, save the file as .tsv with tabs or",
    ),
    (
        "JSON in .tsv",
        SST2,
        "train.tsv",
        b'{"sentence": "a", "label": 1}\n',
        "looks like JSON; give it a name that ends in",
    ),
    ("JSON in .csv", SST2, "train.csv", b'[{"sentence": "a", "label": 1}]\n', "looks like JSON; give it a name that"),
    ("tabs in .csv", SST2, "train.csv", b"sentence\tlabel\na\t1\n", "the file has sentence label; if a tab is between"),
    ("a line break of old Macs in CSV", SST2, "train.csv", b"sentence,label\na\rb,1\n", r"line break.*field\); put"),
    (
        "other languages",
        TASKS["XNLI-zh"],
        "xnli.dev.tsv",
        b"language\tgold_label\tsentence1\tsentence2\nar\tneutral\ta\tb\nzh\tneutral\tc\td\n",
        "line 2: language is 'ar' and not 'zh'; take such rows out",
    ),
    (
        "other languages in records",
        TASKS["XNLI-zh"],
        "xnli.dev.jsonl",
        b'{"language": "ar", "gold_label": "neutral", "sentence1": "a", "sentence2": "b"}\n',
        "line 1: language is 'ar' and not 'zh'",
    ),
    ("an unlabelled row", SST2, "train.tsv", b"sentence\tlabel\na\t1\na\t\t\n", "line 3: unknown label ''"),
    (
        "names against numbers",
        LABEL_FIRST,
        "train.tsv",
        b"a\tb\tlabel\na\tb\t1\n",
        "line 2: unknown label '1' .* how in label_codes",
    ),
    (
        "a number of Python's",
        STSB,
        "train.tsv",
        b"sentence1\tsentence2\tscore\na\tb\t1_0\n",
        "line 2: '1_0' in column score",
    ),
    (
        "a decimal comma",
        STSB,
        "train.tsv",
        b"sentence1\tsentence2\tscore\na\tb\t3,8\n",
        "line 2: '3,8' in column score",
    ),
    ("an array without end", SST2, "train.json", b'[{"sentence": "a", "label": 1},\n', "line 2: the array has no end"),
    ("an array of texts", SST2, "train.json", b'[\n"a"]', "line 2: '\"a\"]' in an array, where { or ]"),
    ("an array broken", SST2, "train.json", b'[{"sentence": "a",\n\n"label" 1}]', "line 1: no JSON object begins here"),
    ("an array and more", SST2, "train.json", b'[{"sentence": "a", "label": 1}]\n[]', r"line 2: '\[\]' in an array"),
    ("pretty JSON", SST2, "train.json", b'{\n"sentence": "a"\n}\n', "line 1: no JSON object"),
]


@pytest.mark.parametrize(
    ("task", "name", "content", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_not_certain_is_one_sentence(
    tmp_path: Path, task: Task, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(open_table(task, path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("keep", [5, 20, -1])
def test_a_damaged_gzip_file_is_one_sentence(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress(b"sentence\tlabel\n" + b"good\t1\n" * 1000)[:keep])
    with pytest.raises(UserError, match=f"^{path} is a damaged gzip file"):
        list(open_table(SST2, path))


def test_a_headerless_test_split_with_a_header(tmp_path: Path) -> None:
    """By names alone; with none of them it is a row."""
    path = tmp_path / "test.tsv"
    for first, rows in (("id\tsentence", ["a"]), ("ID\tcontent", ["a"]), ("0\tsentence", ["sentence", "a"])):
        path.write_text(f"{first}\n1\ta\n")
        assert [row.texts[0] for row in open_table(CHINESE, path, "test")] == rows
    path.write_text("sentence\na\n")
    with pytest.raises(UserError, match="line 1: 'sentence' may be the name of the column or a text"):
        open_table(CHINESE, path, "test")


@pytest.mark.parametrize(("name", "blank"), [("test.tsv", 3), ("test.csv", 3)])
def test_a_blank_line_in_one_column_may_be_a_row(tmp_path: Path, name: str, blank: int) -> None:
    path = tmp_path / name
    path.write_text("sentence\na\n\nb\n")
    with pytest.raises(UserError, match=f"line {blank}: a blank line between rows of one column"):
        list(open_table(SST2, path, "test"))
    path.write_text("\nsentence\na\nb\n\n\n")
    assert [row.texts for row in open_table(SST2, path, "test")] == [("a",), ("b",)]
    path.write_bytes(b"sentence\na\rb\nc\n")
    with pytest.raises(UserError, match=r"line 2: .*(carriage return|quotation marks)"):
        list(open_table(SST2, path, "test"))


def test_a_separator_of_the_task(tmp_path: Path) -> None:
    for separator, text, read in ((";", '"a;b"', "a;b"), ("||", '"a;b"', '"a;b"'), ("\t", '"a ""b"""', 'a "b"')):
        path = tmp_path / "train.csv"
        path.write_text(f"sentence{separator}label\n{text}{separator}1\n")
        assert [row.texts for row in open_table(replace(SST2, separator=separator), path)] == [(read,)]


def test_a_table_with_tabs_of_a_task_with_another_separator(tmp_path: Path) -> None:
    """Such as an augmented one."""
    task = replace(SST2, separator=";")
    for name, text in (("train_aug.tsv", "sentence\tlabel\na;b\t1\n"), ("train.tsv", 'sentence;label\n"a;b";1\n')):
        path = tmp_path / name
        path.write_text(text)
        assert [row.texts for row in open_table(task, path)] == [("a;b",)]


def test_one_column_is_not_taken_for_two(tmp_path: Path) -> None:
    task = replace(LABEL_FIRST, column_aliases={"a": ("text",), "b": ("text", "text2")})
    path = tmp_path / "train.tsv"
    path.write_text("text\tlabel\nx\tyes\n")
    with pytest.raises(UserError, match="line 1: one column 'text' for several of a, b, label"):
        open_table(task, path)


def test_a_cell_may_be_a_whole_document(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f'sentence,label\n"{"long, " * 50_000}",1\n')
    assert [len(row.texts[0]) for row in open_table(SST2, path)] == [300_000]


def test_two_readings_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\na\t1\nb\nc\t0\n")
    table = open_table(SST2, path, skip_bad_rows=True)
    assert [(a.line, b.line) for a, b in zip(table, table, strict=True)] == [(2, 2), (4, 4)]
    assert table.tally.left_out()["skipped"] == 1
    first = iter(open_table(SST2, path))
    next(first)
    with pytest.raises(UserError, match="line 3: 1 column"):
        list(first)


def test_a_parquet_file_of_the_hub_has_the_names_of_its_labels(tmp_path: Path) -> None:
    import datasets

    names = datasets.ClassLabel(names=["not_entailment", "entailment"])  # not in the task's order
    features = datasets.Features({"sentence1": datasets.Value("string"), "sentence2": names, "label": names})
    features["sentence2"] = datasets.Value("string")
    rows = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]}
    path = tmp_path / "train.parquet"
    datasets.Dataset.from_dict(rows, features).to_parquet(path)
    table = open_table(RTE, path)
    assert table.header == ("sentence1", "sentence2", "label")
    assert [(row.texts, row.label) for row in table] == [(("a", "c"), 1), (("b", "d"), 0)]


def test_what_looks_quoted_or_escaped_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.tsv"
    path.write_text('sentence\tlabel\n"he said ""hi"""\t1\na\\tb\t0\n')
    table = open_table(SST2, path)
    with caplog.at_level(logging.WARNING):
        assert [row.texts[0] for row in [*table, *table]] == ['"he said ""hi"""', "a\\tb"] * 2
    assert [record.message for record in caplog.records] == [
        f'{path}: 1 cells look quoted as in a .csv file, such as "he said ""hi""" on line 2, and are read as they '
        "stand, since a tab-separated file knows no quoting; if they are, write the file as .csv",
        f"{path}: \\t stands in 1 rows and is read as it stands, a backslash and a t",
    ]


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        (
            "train.csv",
            '1, "Hello there", 1\n',
            ': quotations begin after a space, such as "Hello there" on line 2; they',
        ),
        ("train.csv", '1,he said "hi",1\n', None),
        (
            "train.csv",
            '1, "a" b,1\n',
            ': cells have quotation marks after a space, such as "a" b on line 2, and are not',
        ),
        (
            "train.tsv",
            '1\t"a"\t1\n' * 3,
            ': 3 cells look quoted as in a .csv file, such as "a" on line 2, and are read',
        ),
        ("train.tsv", '1\t"a"\t1\n' * 3 + "1\tb\t1\n1\tc\t1\n", None),
        ("train.csv", '1,"a, ""b""",1\n2," ""c""",1\n', None),
    ],
)
def test_what_was_done_with_quotation_marks_is_told_with_an_example(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, rows: str, told: str | None
) -> None:
    path = tmp_path / name
    path.write_text("id,sentence,label\n".replace(",", "\t" if name.endswith("tsv") else ",") + rows)
    with caplog.at_level(logging.WARNING):
        list(open_table(SST2, path))
    if told is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert re.match(re.escape(str(path)) + told, record.message)


BAD_ROWS = "sentence\tlabel\n" + "good\t1\nbad\nbad\t7\n" * 4


def test_bad_rows_are_counted_and_the_first_five_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(BAD_ROWS)
    with pytest.raises(UserError) as caught:
        list(open_table(SST2, path))
    width, label = "(1 column where 2 are expected)", "(unknown label '7' in column label)"
    assert str(caught.value) == (
        f"{path}: 8 rows cannot be read: line 3 {width}, line 4 {label}, line 6 {width}, line 7 {label}, "
        f"line 9 {width} and 3 more; correct them, or leave them out with --skip-bad-rows"
    )


def test_bad_rows_are_skipped_when_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(BAD_ROWS)
    table = open_table(SST2, path, skip_bad_rows=True)
    with caplog.at_level(logging.WARNING):
        assert [row.line for row in table] == [2, 5, 8, 11]
    assert "skipped what cannot be read, 8 in all: line 3 (1 column" in caplog.text
    assert table.tally.left_out() == {"skipped": 8, "unscored": 0, "torn": 0}
    path.write_text("sentence\tlabel\nbad\n")
    with pytest.raises(UserError, match="line 2: 1 column where 2"):  # nothing would be left
        list(open_table(SST2, path, skip_bad_rows=True))


def test_quotations_that_do_not_close_are_not_skipped(tmp_path: Path) -> None:
    """Nobody knows which rows they swallowed."""
    path = tmp_path / "train.csv"
    path.write_text('sentence,label\n"a,1\nb,0\n"c",1\n')
    with pytest.raises(UserError, match="line 2: quotation marks"):
        list(open_table(SST2, path, skip_bad_rows=True))


def test_unscored_rows_are_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\na\tyes\nb\t-\n")
    table = open_table(UNSCORED, path)
    with caplog.at_level(logging.WARNING):
        assert [row.texts for row in table] == [("a",)]
    assert table.tally.left_out() == {"skipped": 0, "unscored": 1, "torn": 0}
    assert f"{path}: left out what is labelled '-' and not scored, 1 in all" in caplog.text

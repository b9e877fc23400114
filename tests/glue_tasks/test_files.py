"""Readers and the writer, on rows made by hypothesis and on bad files."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.writers import TableWriter

SST2, COLA, MRPC, MNLI, STSB, QQP, RTE = (
    TASKS[name] for name in ("SST-2", "CoLA", "MRPC", "MNLI", "STS-B", "QQP", "RTE")
)

# All that a cell may hold, with what other readers trip over drawn often: quotes, line breaks that are none here, BOMs.
cell = st.text(
    st.one_of(
        st.sampled_from("\"'\u2028\u2029\x85\x0b\x0c\x1c\x00\xa0\ufeff \\,😀情"),
        st.characters(exclude_characters="\t\r\n", codec="utf-8"),
    ),
    max_size=12,
)
sst2_rows = st.lists(st.tuples(cell, st.sampled_from("01")), min_size=1, max_size=8)


def write(path: Path, *lines: str, end: str = "\n", bom: bool = False, last_end: bool = True) -> Path:
    text = end.join(lines) + (end if last_end else "")
    path.write_bytes(b"\xef\xbb\xbf" * bom + text.encode())
    return path


@given(sst2_rows, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_any_text_is_read_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str, bom: bool, last_end: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    write(path, "sentence\tlabel", *map("\t".join, rows), end=end, bom=bom, last_end=last_end)
    read = list(open_table(SST2, path))
    assert [row.cells for row in read] == rows
    assert [row.texts for row in read] == [(text,) for text, _ in rows]
    assert [row.label for row in read] == [int(label) for _, label in rows]
    assert [row.line for row in read] == list(range(2, len(rows) + 2))


@given(st.lists(st.tuples(cell, cell, cell, cell), min_size=1, max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path_factory.getbasetemp() / "written.tsv"
    header = ("index", "sentence1", "sentence2", "more")
    with TableWriter(path, header) as table:
        for row in rows:
            table.write(row)
    assert table.rows == len(rows)
    assert table.breaks_replaced == 0
    read = open_table(RTE, path, "test")  # a test split has no label column
    assert read.header == header
    assert [row.cells for row in read] == rows


def test_a_cell_may_hold_a_carriage_return(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes(b"sentence\tlabel\nold\rmac\t1\n")
    assert [row.texts for row in open_table(SST2, path)] == [("old\rmac",)]


def test_blank_lines_are_no_rows_and_are_counted_as_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "", "sentence\tlabel", "", "good\t1", "", "bad\t0", "", "")
    assert [(row.line, row.texts, row.label) for row in open_table(SST2, path)] == [
        (4, ("good",), 1),
        (6, ("bad",), 0),
    ]


def test_empty_cells_at_the_end_are_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel\tnote", "0\ta\tb\tentailment\t")
    assert next(iter(open_table(RTE, path))).cells == ("0", "a", "b", "entailment", "")


def test_headerless_splits_and_labels_by_code_or_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "gj04\t0\t*\tHim is here.", "gj04\tacceptable\t\tHe is here.", bom=True)
    table = open_table(COLA, path)
    assert table.header is None
    assert [(row.line, row.texts, row.label) for row in table] == [
        (1, ("Him is here.",), 0),
        (2, ("He is here.",), 1),
    ]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "gold_label\tsentence2\tgenre\tsentence1", "neutral\tb\tfiction\ta")
    row = next(iter(open_table(MNLI, path)))
    assert (row.texts, row.label) == (("a", "b"), 1)
    assert open_table(MNLI, path).replace_texts(row, ("A", "B")) == ("neutral", "B", "fiction", "A")


def test_a_test_split_has_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "test.tsv", "index\tsentence", "0\tgood")
    assert [row.label for row in open_table(SST2, path, "test")] == [None]


def test_regression_labels_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence1\tsentence2\tscore", "a\tb\t3.80", "a\tb\t5")
    assert [row.label for row in open_table(STSB, path)] == [3.8, 5.0]


def test_a_table_is_read_again_from_the_start(tmp_path: Path) -> None:
    table = open_table(SST2, write(tmp_path / "train.tsv", "sentence\tlabel", "a\t1", "b\t0"))
    next(iter(table))
    assert list(table) == list(table)
    assert len(list(table)) == 2


def test_torn_rows_of_qqp_are_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    lines = (header, "0\t1\t2\ta?\tb?\t0", '3\t4\t5\t"torn', 'in two?"\tc?\t0', "6\t7\t8\td?\te?\t1")
    path = write(tmp_path / "train.tsv", *lines)
    with caplog.at_level(logging.WARNING):
        assert [row.line for row in open_table(QQP, path)] == [2, 5]
    assert f"{path}: 2 lines" in caplog.text


BAD: list[tuple[str, Task, bytes, str]] = [
    ("too few columns", SST2, b"sentence\tlabel\na\t1\nb\n", "line 3: 1 column where 2 are expected"),
    ("too many columns", SST2, b"sentence\tlabel\na\tb\t1\n", "line 2: 3 columns where 2 are expected"),
    (
        "too many columns, torn rows allowed",
        QQP,
        b"question1\tquestion2\tis_duplicate\na\tb\tc\t1\n",
        "line 2: 4 columns",
    ),
    ("headerless, too few columns", COLA, b"gj04\t1\tfine\n", "line 1: 3 columns where 4 are expected"),
    ("unknown label", SST2, b"sentence\tlabel\na\t1\n\nb\t2\n", "line 4: unknown label '2' in column label"),
    ("empty label", SST2, b"sentence\tlabel\na\t1\na\t\n", "line 3: unknown label ''"),
    ("empty labels", SST2, b"sentence\tlabel\na\t\n", "has no labels: label is empty or -1 in every row"),
    ("unknown label without codes", MNLI, b"sentence1\tsentence2\tgold_label\na\tb\t-\n", "line 2: unknown label '-'"),
    ("label that is no number", STSB, b"sentence1\tsentence2\tscore\na\tb\thigh\n", "line 2: 'high' in column score"),
    ("label that is not finite", STSB, b"sentence1\tsentence2\tscore\na\tb\tnan\n", "line 2: 'nan' in column score"),
    ("undecodable byte", SST2, b"sentence\tlabel\ncaf\xe9\t1\n", r"line 2: byte 4 of the line \(0xe9\) is not UTF-8"),
    ("undecodable header", SST2, b"\xff\xfes\x00e\x00", "is UTF-16, not UTF-8; save it as UTF-8"),
    ("empty file", SST2, b"", "has no rows"),
    ("byte-order mark alone", SST2, b"\xef\xbb\xbf", "has no rows"),
    ("blank lines alone", COLA, b"\n\r\n\n", "has no rows"),
    ("header only", SST2, b"sentence\tlabel\n", "has no rows"),
    ("missing text column", SST2, b"text\tlabel\na\t1\n", "line 1: no column named 'sentence'"),
    ("missing label column", SST2, b"index\tsentence\n0\ta\n", "line 1: no column named 'label'"),
    ("column twice", SST2, b"sentence\tlabel\tlabel\na\t1\t1\n", "line 1: 2 columns named 'label'"),
    ("commas", SST2, b"sentence,label\na,1\n", "the file has sentence,label"),
]


@pytest.mark.parametrize(("task", "content", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_file_is_one_sentence(tmp_path: Path, task: Task, content: bytes, message: str) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(open_table(task, path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_stays_short_for_a_file_of_another_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "x" * 100_000, "y")
    with pytest.raises(UserError) as caught:
        open_table(SST2, path)
    assert len(str(caught.value)) < 500


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere; get SST-2 from https://gluebenchmark.com"):
        find_file(SST2, tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"no folder .*SST-2; get SST-2 from"):
        find_file(SST2, tmp_path, "train")
    (tmp_path / "SST-2").mkdir()
    with pytest.raises(UserError, match=r"no file .*train.tsv; get SST-2 from"):
        find_file(SST2, tmp_path, "train")
    with pytest.raises(UserError, match="SST-2 has no split 'dev_mismatched'; its splits are train, dev, test"):
        find_file(SST2, tmp_path, "dev_mismatched")
    with pytest.raises(UserError, match="there is no file"):
        open_table(SST2, tmp_path / "train.tsv")


def test_the_folder_of_the_task_itself_is_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "SST-2"
    folder.mkdir()
    write(folder / "train.tsv", "sentence\tlabel", "a\t1")
    assert find_file(SST2, tmp_path, "train") == folder / "train.tsv"
    with pytest.raises(UserError, match=f"give the folder above it, {tmp_path}$"):
        find_file(SST2, folder, "train")


def test_breaks_inside_a_cell_become_one_space_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.tsv"
    with TableWriter(path) as table:
        table.write(["a\tb", "c\r\nd", "e\u2028f"])
        table.write(iter(["plain", "", "g\rh"]))
    assert path.read_bytes().decode() == "a b\tc d\te\u2028f\nplain\t\tg h\n"
    assert (table.rows, table.breaks_replaced) == (2, 3)


def write_and_fail(path: Path, error: BaseException) -> None:
    with TableWriter(path, ["header"]) as table:
        table.write(["row"])
        raise error


def test_nothing_appears_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.tsv"
    with TableWriter(path, ["header"]) as table:
        table.write(["row"])
        assert not path.exists()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("out.tsv", b"header\nrow\n")]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_and_fail(tmp_path / "out.tsv", error())
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_older_file(tmp_path: Path) -> None:
    path = write(tmp_path / "out.tsv", "older")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(path, ZeroDivisionError())
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("out.tsv", b"older\n")]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files by RLIMIT_FSIZE")
@pytest.mark.parametrize("rows", [100, 100_000], ids=["at the end", "while writing"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "out.tsv"
    script = f"""
import resource
from pathlib import Path
from glue_tasks.errors import exit_on_user_error
from glue_tasks.writers import TableWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with exit_on_user_error(), TableWriter(Path({str(path)!r})) as table:
    for _ in range({rows}):
        table.write(["a sentence", "1"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"error: the disk is full while writing {path}" in done.stderr
    assert list(tmp_path.iterdir()) == []

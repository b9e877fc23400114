"""Rows and files made by hypothesis: what is written is read back, what others mangle is read equal or refused."""

import csv
import gzip
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glue_tasks import TASKS, Task, UserError
from glue_tasks import records as records_module
from glue_tasks.files import open_table
from glue_tasks.records import read_records
from glue_tasks.writers import TableWriter

SST2 = TASKS["SST-2"]
PAIR = Task("pair", "", ("first", "second"), "label", ("no", "yes"), ("accuracy",), label_codes=("0", "1"))

Rows = list[tuple[str, str]]
some = st.sampled_from("ab01,;\"'\\\t\r\n\u2028\x85\x00\ufeff 情😀{}[]")
anything = st.text(st.one_of(some, st.characters(codec="utf-8")), max_size=8)
one_line = anything.map(lambda text: re.sub(r"[\t\r\n]", "", text))
any_rows = st.lists(st.tuples(anything, st.sampled_from("01")), min_size=1, max_size=5)
line_rows = st.lists(st.tuples(one_line, st.sampled_from("01")), min_size=1, max_size=5)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def read(task: Task, path: Path) -> list[tuple[str, ...]]:
    """Texts and label of each row."""
    return [(*row.texts, str(row.label)) for row in open_table(task, path)]


def read_or_refused(task: Task, path: Path) -> list[tuple[str, ...]] | None:
    try:
        return read(task, path)
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert str(path) in message
    return None


def as_csv(rows: Rows, separator: str = ",", quoting: int = csv.QUOTE_ALL, end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end).writerows([("sentence", "label"), *rows])  # type: ignore[arg-type]
    return file.getvalue()


def as_records(rows: Rows) -> list[dict[str, str]]:
    return [{"label": label, "sentence": text} for text, label in rows]


FORMATS = {
    "train.csv": as_csv,
    "crlf.csv": lambda rows: as_csv(rows, end="\r\n"),
    "minimal.csv": lambda rows: as_csv(rows, quoting=csv.QUOTE_MINIMAL, end="\r\n"),
    "quoted.tsv": lambda rows: as_csv(rows, "\t"),
    "ascii.json": lambda rows: "\n".join(map(json.dumps, as_records(rows))),
    "train.jsonl": lambda rows: "".join(json.dumps(r, ensure_ascii=False) + "\r\n" for r in as_records(rows)),
    "array.json": lambda rows: json.dumps(as_records(rows)),
    "wide.json": lambda rows: json.dumps(as_records(rows), indent=2, ensure_ascii=False),
}


@pytest.mark.parametrize("name", FORMATS)
@given(rows=any_rows, packed=st.booleans(), bom=st.booleans())
def test_any_text_comes_back_from_every_format(folder: Path, name: str, rows: Rows, packed: bool, bom: bool) -> None:
    content = (b"\xef\xbb\xbf" if bom else b"") + FORMATS[name](rows).encode()
    path = folder / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(SST2, path) == rows


@given(rows=any_rows)
def test_any_text_comes_back_from_parquet(folder: Path, rows: Rows) -> None:
    import pyarrow.parquet

    path = folder / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(as_records(rows)), path, row_group_size=2)
    assert read(SST2, path) == rows


@pytest.mark.parametrize("name", ["train.csv", "array.json"])
@given(rows=any_rows)
def test_a_table_of_any_format_is_written_and_read_back(folder: Path, name: str, rows: Rows) -> None:
    """As augmentation does: the table's header and cells, with a space for each tab and line break."""
    path, copy = folder / name, folder / "train_aug.tsv"
    path.write_bytes(FORMATS[name](rows).encode())
    table = open_table(SST2, path)
    with TableWriter(copy, table.header) as writer:
        for row in table:
            writer.write(table.replace_texts(row, row.texts))
    assert read(SST2, copy) == [(re.sub(r"[\t\r\n]+", " ", text), label) for text, label in rows]


ENDS = st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"])


@given(
    rows=line_rows,
    end=ENDS,
    bom=st.booleans(),
    last=st.integers(0, 3),
    packed=st.booleans(),
    swapped=st.booleans(),
    header=st.sampled_from([("sentence", "label"), ("Sentence", " LABEL "), ("content", "Label")]),
    tabs=st.sampled_from(["", "\t", "\t\t"]),
    labels=st.sampled_from([("0", "1"), (" 0", "1 "), ("negative", "POSITIVE"), ("0.0", "1.0"), ("False", "true")]),
)
def test_a_mangled_table_is_read_as_it_was(
    folder: Path,
    rows: Rows,
    end: str,
    bom: bool,
    last: int,
    packed: bool,
    swapped: bool,
    header: tuple[str, str],
    tabs: str,
    labels: tuple[str, str],
) -> None:
    task = replace(SST2, column_aliases={"sentence": ("content",)})
    order = -1 if swapped else 1
    lines = ["\t".join(cells[::order]) + tabs for cells in [header, *((text, labels[int(i)]) for text, i in rows)]]
    content = (b"\xef\xbb\xbf" if bom else b"") + (end.join(lines) + end * last).encode()
    path = folder / "mangled.tsv"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(task, path) == rows


@given(rows=any_rows, separator=st.sampled_from([",", "\t"]), end=ENDS)
def test_a_table_of_other_programs_is_read_or_refused(folder: Path, rows: Rows, separator: str, end: str) -> None:
    """Quoted where needed alone; with tabs, a quotation mark is then a letter, which `read` is told."""
    path = folder / ("other.csv" if separator == "," else "other.tsv")
    path.write_bytes(as_csv(rows, separator, csv.QUOTE_MINIMAL, end).encode())
    found = read_or_refused(SST2, path)
    if separator == "\t" and found is not None:
        assert [label for _, label in found] == [label for _, label in rows]
        found = [(text[1:-1].replace('""', '"') if text[:1] == '"' else text, label) for text, label in found]
    assert found in (None, rows)


def lines_of(rows: list[tuple[str, ...]]) -> str:
    return "".join("\t".join(cells) + "\n" for cells in rows)


@given(
    rows=st.lists(st.tuples(one_line, one_line, st.sampled_from("01")), min_size=1, max_size=4),
    at=st.floats(0, 1, exclude_max=True),
    letter=st.sampled_from(["\t", "\n", ""]),
    first=st.booleans(),
)
@example([("xy", "", "1")], 0.5, "\t", True)
def test_a_tab_or_line_break_more_or_less_shifts_nothing(
    folder: Path, rows: list[tuple[str, ...]], at: float, letter: str, first: bool
) -> None:
    """With the label first or last: the rows as they were, or none."""
    turn = slice(None, None, -1) if first else slice(None)
    body = lines_of([cells[turn] for cells in rows])
    if letter:
        place = int(at * (len(body) + 1))
        body = body[:place] + letter + body[place:]
    else:
        breaks = [i for i, each in enumerate(body) if each in "\t\n"]
        place = breaks[int(at * len(breaks))]
        body = body[:place] + body[place + 1 :]
    path = folder / "one_off.tsv"
    path.write_bytes(("\t".join(("first", "second", "label")[turn]) + "\n" + body).encode())
    assert read_or_refused(PAIR, path) in (None, rows)


@given(rows=any_rows, at=st.floats(0, 1, exclude_max=True))
@example([('"', "0"), ("\n000", "0"), ("", "0")], 0.25)
def test_a_quotation_mark_more_swallows_no_row(folder: Path, rows: Rows, at: float) -> None:
    body = as_csv(rows, quoting=csv.QUOTE_MINIMAL).removeprefix("sentence,label\n")
    place = int(at * (len(body) + 1))
    path = folder / "quote.csv"
    path.write_bytes(("sentence,label\n" + body[:place] + '"' + body[place:]).encode())
    found = read_or_refused(SST2, path)
    if found is not None:
        assert [(text.replace('"', ""), label) for text, label in found] == [(t.replace('"', ""), n) for t, n in rows]


fuzz = st.text(st.sampled_from('ab01\t\t\n\n\r" ,'), max_size=24)


@given(body=fuzz)
def test_every_line_is_a_row_where_any_is(folder: Path, body: str) -> None:
    """Against a plain reading: each line that is not blank gives the cells it holds, or the file is refused."""
    path = folder / "fuzz.tsv"
    path.write_bytes(b"sentence\tlabel\n" + body.encode())
    try:
        rows = list(open_table(SST2, path))
    except UserError:
        return
    lines = [(n, line.rstrip("\r")) for n, line in enumerate(body.split("\n"), start=2)]
    plain = [(n, line.split("\t")) for n, line in lines if line]
    assert [(row.line, list(row.cells)) for row in rows] == [(n, cells[:2]) for n, cells in plain]
    assert not any(cell for _, cells in plain for cell in cells[2:])
    assert all(cells[1].strip() == str(row.label) for row, (_, cells) in zip(rows, plain, strict=True))


@pytest.mark.parametrize("name", ["f.tsv", "f.csv", "f.json", "f.parquet", "f.tsv.gz"])
@given(content=st.one_of(fuzz.map(str.encode), st.binary(max_size=24), st.text('[]{},:"a1 \n').map(str.encode)))
def test_no_file_ends_in_a_traceback(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    read_or_refused(SST2, path)


@given(
    records=st.lists(st.dictionaries(anything, st.one_of(anything, st.integers(), st.none())), max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    space=st.text(" \t\r\n", max_size=3),
)
def test_an_array_in_pieces_is_the_array(folder: Path, records: list[dict], indent: int | None, space: str) -> None:
    path = folder / "pieces.json"
    text = space + json.dumps(records, indent=indent, ensure_ascii=False) + space
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "_CHUNK", 5)
        found = list(read_records(path))
    assert [record for _, record in found] == records
    lines = text.split("\n")
    assert all(lines[line - 1].lstrip(" \t\r[,").startswith("{") for line, _ in found)

"""Files of a corpus: plain text, JSON lines, Parquet, gzipped or not, whole or damaged."""

import gzip
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_tasks.errors import UserError
from tinydistill.corpus import reading
from tinydistill.corpus.reading import corpus_files, corpus_lines, documents

DOCUMENTS = [["The film was good.", "Nobody slept."], ["影片很好。", "没有人睡着。", "ß"], ["one"]]


def as_text(texts: list[list[str]]) -> bytes:
    return "\n\n".join("\n".join(lines) for lines in texts).encode()


def as_json(texts: list[list[str]], field: str = "text") -> bytes:
    return b"".join(json.dumps({"id": 1, field: "\n".join(lines)}).encode() + b"\n" for lines in texts)


def as_parquet(texts: list[list[str]], field: str = "text") -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(len(texts)), field: ["\n".join(lines) for lines in texts]}), sink)
    return sink.getvalue().to_pybytes()


FORMATS: dict[str, Callable[[list[list[str]]], bytes]] = {
    "a.txt": as_text,
    "a": as_text,
    "a.jsonl": as_json,
    "a.json": lambda texts: json.dumps([{"text": "\n".join(lines)} for lines in texts], indent=1).encode(),
    "a.parquet": as_parquet,
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_hold_the_same(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / (name + ".gz" * packed)
    raw = FORMATS[name](DOCUMENTS)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert list(documents([path, path])) == DOCUMENTS * 2


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("\ufeffa\r\nb\r\n\r\nc\r\n", [["a", "b"], ["c"]]),
        ("\n\n  a \n\t\n \u3000 \nb", [["a"], ["b"]]),
        ("a\rb\r\rc\r", [["a", "b"], ["c"]]),  # old Mac
        ("a\u2028b\n", [["a\u2028b"]]),
        ("{not JSON}\n", [["{not JSON}"]]),
        ("", []),
        (" \n\n", []),
    ],
)
def test_lines_and_borders_of_plain_text(raw: str, expected: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw.encode())
    assert list(documents([path])) == expected
    # An end of a file is one of a document.
    path.write_bytes(raw.rstrip().encode() or b"\n")
    assert list(documents([path, path])) == expected * 2


def test_a_blank_line_does_not_part_a_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\\n\\n b \\r\\nc"}\n{"text": ""}\n\n{"text": "d"}\n', encoding="utf-8")
    assert list(documents([path])) == [["a", "b", "c"], ["d"]]
    path.write_text('{"body": "a"}', encoding="utf-8")
    assert list(documents([path], field="body")) == [["a"]]


def test_folders_by_name_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a/2.txt", "a/10.txt", ".hidden", "a/.git/x", "c/d/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    names = [str(path.relative_to(tmp_path)) for path in corpus_files([tmp_path])]
    assert names == ["a/10.txt", "a/2.txt", "b.txt", "c/d/e.txt"]
    assert corpus_files([tmp_path / "b.txt", tmp_path / "a"])[0].name == "b.txt"


def test_paths_that_are_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    for paths, sentence in [
        ([tmp_path / "nothing"], "there is no file or folder"),
        ([tmp_path / "empty"], "holds no files"),
        ([], "needs a file or a folder"),
        ([tmp_path / "a.txt", tmp_path], "is in the corpus twice"),
    ]:
        with pytest.raises(UserError, match=sentence):
            corpus_files(paths)
    (tmp_path / "empty" / "round").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads back"):
        corpus_files([tmp_path])
    (tmp_path / "empty" / "round").unlink()
    (tmp_path / "empty" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="leads nowhere"):
        corpus_files([tmp_path])


LONG = b"a" * 60 + b"\n"
WRONG = {
    "a.txt": [
        (b"good\nb\xffd\n", "line 2: byte 2 of the line (0xff) is not UTF-8"),
        (b"good\nb\0d\n", "line 2: holds a zero byte"),
        (b"PK\x03\x04\x14\0\0\0", "is a zip archive"),
        ("good\n".encode("utf-16"), "UTF-16"),
        (b"BZh91AY&SY\xe4", "packed by bzip2"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "packed by zstd"),
        (b"ok\n" + LONG, "line 2: longer than 50 bytes"),
        (LONG.replace(b"\n", b"\r") * 2, "line 1: longer than 50 bytes"),
        (b"a" * 1000, "line 1: longer than 50 bytes"),
        (b'\n{"text": "a"}\n', "holds JSON, not plain text; give it a name that ends in .jsonl"),
    ],
    "a.txt.gz": [
        (gzip.compress(as_text(DOCUMENTS), mtime=0)[:-12], "is a damaged gzip file"),
        (gzip.compress(LONG, mtime=0), "line 1: longer than 50 bytes"),
    ],
    "a.jsonl": [
        (b'{"text": "a"}\n{"title": "b"}\n', "line 2: there is no field 'text', but title; name the field"),
        (b'{"text": 3}\n', "line 1: the field 'text' holds no text"),
        (b'{"text": null}\n', "line 1: the field 'text' holds no text"),
        (b'{"text": "\\ud800"}\n', "line 1: the field 'text' holds half a character (\\ud800)"),
        (b'{"text": "a\n', "line 1: no JSON object"),
        (b'{"text": "a"}\n"b"\n', "line 2: JSON, but no object"),
        (b'{"text": "\xff"}\n', "line 1: byte 11 of the line (0xff) is not UTF-8"),
        (b'{"text": "' + LONG, "line 1: longer than 50 bytes"),
    ],
    "a.parquet": [
        (as_parquet(DOCUMENTS, "body"), "has no column 'text', but id, body; name the column"),
        (as_parquet(DOCUMENTS)[:-9], "cannot be read as Parquet"),
        (b"text", "cannot be read as Parquet"),
    ],
}


@pytest.mark.parametrize(("name", "raw", "sentence"), [(name, *case) for name in WRONG for case in WRONG[name]])
def test_what_is_no_text_is_told(
    name: str, raw: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 50)
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(UserError, match=re.escape(sentence)) as told:
        list(corpus_lines([path]))
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_rows_of_parquet_without_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    broken = pa.array([b"fine", b"b\xff"], pa.binary()).cast(pa.string(), safe=False)
    for column, sentence in [
        (pa.array(["a", None]), "row 2: the column 'text' holds no text"),
        (pa.array([1, 2]), "row 1: the column 'text' holds no text"),
        (pa.array([b"a"]), "row 1: the column 'text' holds no text"),
        (pa.Array.from_buffers(pa.string(), 2, broken.buffers()), "row 2: the text is not UTF-8"),
    ]:
        pq.write_table(pa.table({"text": column}), path)
        with pytest.raises(UserError, match=re.escape(sentence)):
            list(corpus_lines([path]))
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert list(documents([path])) == [["a"], ["b"], ["a"]]


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    """Of a sparse file of four gigabytes, more than a test may hold, nothing but the limit is kept."""
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.write(b"a\n")
        file.truncate(1 << 32)
    with pytest.raises(UserError, match="line 2: longer than 10,000,000 bytes"):
        list(corpus_lines([path]))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(list(FORMATS)))
    raw = bytearray(FORMATS[name](DOCUMENTS))
    packed = draw(st.booleans())
    if draw(st.booleans()) and packed:
        raw, packed = bytearray(gzip.compress(bytes(raw), mtime=0)), False
        name += ".gz"
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        new = draw(st.sampled_from([b"", b"\xff", b"\0", b"\n", b'"', b"{", b"\\", b"\xe5", b"[", b"\x1f\x8b", b"}\n"]))
        raw[at : at + draw(st.sampled_from([0, 1, 1, 2, 1000]))] = new
    return name, gzip.compress(bytes(raw), mtime=0) if packed else bytes(raw)


@settings(max_examples=150)
@given(mutated())
def test_damaged_files_are_read_or_told(case: tuple[str, bytes]) -> None:
    name, raw = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(raw)
        told = ""
        found: list[tuple[str, bool]] = []
        try:
            found = list(corpus_lines([path]))
        except UserError as error:
            told = f"{error}"
        assert not told or (name in told and "\n" not in told)
        assert all(line and line == line.strip() and line.encode() for line, _ in found)
        assert [begins for _, begins in found[:1]] == [True] * bool(found)

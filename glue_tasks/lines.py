"""The lines of a text file, whatever a system made of their ends: LF, CRLF or CR, with a byte-order mark, gzipped."""

import contextlib
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, AnyStr, BinaryIO, TypeVar, cast

from glue_tasks.errors import UserError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UTF_16 = "is UTF-16, not UTF-8; save it as UTF-8"
# Of the starts of files of another kind, what to do.
_OTHER_KINDS = {
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"PK\x03\x04": "is a zip archive or a spreadsheet; unpack it, or save it as .tsv or .csv",
    b"PAR1\x15": "is Parquet, not text; give it a name that ends in .parquet",
    b"BZh91AY&SY": "is packed by bzip2; unpack it, or pack it by gzip",
    b"\xfd7zXZ\x00": "is packed by xz; unpack it, or pack it by gzip",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it, or pack it by gzip",
}
_CHUNK = 1 << 20  # bytes

GRIDS = (".tsv", ".csv")
RECORDS = (".json", ".jsonl", ".parquet")
# A file of each format can stand for one of another; those of text may be packed.
TEXT_SUFFIXES = (".txt", ".txt.gz")  # tables with tabs, as they are passed around
SUFFIXES = (*GRIDS, *RECORDS, *(f"{suffix}.gz" for suffix in (".tsv", ".csv", ".json", ".jsonl")))


@dataclass(eq=False)
class Fault(Exception):
    """Why a row cannot be read, and what to do. Raised by what reads one row; rows that are passed on have it in the
    place of such a one."""

    what: str
    cure: str = ""
    place: str = ""  # where there are better names than lines: an article and a question

    def where(self, line: int) -> str:
        return self.place or f"line {line}"

    def at(self, path: Path, line: int) -> str:
        """The sentence."""
        return f"{path}, {self.where(line)}: {self.what}" + (f"; {self.cure}" if self.cure else "")


_In = TypeVar("_In")
_Out = TypeVar("_Out")
Numbered = Iterator[tuple[int, _Out | Fault]]  # rows, each with its line, from 1


def read_each(rows: Iterable[tuple[int, _In | Fault]], read: Callable[[_In], _Out]) -> Numbered[_Out]:
    """What `read` makes of each row. A Fault that it raises stands in the row's place; one that is there stays."""
    for line, row in rows:
        try:
            yield line, row if isinstance(row, Fault) else read(row)
        except Fault as fault:
            yield line, fault


def suffix_of(path: Path) -> str:
    """The suffix that says the format: in lower case, and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def shown(text: str, limit: int = 100) -> str:
    """Text on one line and short enough for a message: a file of another kind may be a million characters wide."""
    short = text if len(text) <= limit else text[:limit] + "…"
    return "".join(letter if letter.isprintable() else " " for letter in short)


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked if its first bytes say gzip. Raises UserError where such a file is damaged."""
    with open(path, "rb") as file:
        if not file.peek(2).startswith(_GZIP):
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield cast(BinaryIO, unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is a damaged gzip file ({error}); get or make it anew") from None


def read_lines(path: Path, longest: int | None = None) -> Numbered[str]:
    """Each line's number, from 1, and its text without its end; blank lines are counted and left out."""
    # \r\r\n too: CRLF written through a system that makes CRLF of LF
    lines = ((line, raw.rstrip(b"\r\n")) for line, raw in enumerate(raw_lines(path, longest), start=1))
    return read_each(((line, raw) for line, raw in lines if raw), decoded)


def decoded(raw: bytes) -> str:
    """A line as text. Raises Fault."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        at = error.start
        what = f"byte {at + 1} of the line (0x{raw[at]:02x}) is not UTF-8"
        raise Fault(what, "save the file as UTF-8") from None


def raw_lines(path: Path, longest: int | None = None) -> Iterator[bytes]:
    """Each line with its end, without a byte-order mark.

    A line ends in LF or CRLF, or in CR where the whole file has no LF (old Mac); nothing else ends one: U+2028 does
    not. A CR elsewhere is an ordinary character. Raises UserError if the file is no text, or has a line of more than
    `longest` bytes, of which no more is read.
    """
    ends_in_cr = _ends_in_cr(path)
    with open_bytes(path) as file:
        lines: Iterator[bytes]
        if ends_in_cr:
            # Latin-1 has a character for every byte, and gives each back.
            characters = io.TextIOWrapper(file, "latin-1", newline="\r")
            lines = (line.encode("latin-1") for line in _up_to(longest, characters, path))
        else:
            lines = _up_to(longest, file, path)
        first = next(lines, b"")
        for sign, cure in _OTHER_KINDS.items():
            if first.startswith(sign):
                raise UserError(f"{path} {cure}")
        if len(first) > 3 and (not any(first[:20:2]) or not any(first[1:20:2])):
            raise UserError(f"{path} {_UTF_16}")
        yield first.removeprefix(_BYTE_ORDER_MARK)
        yield from lines


def _up_to(longest: int | None, file: IO[AnyStr], path: Path) -> Iterator[AnyStr]:
    if longest is None:
        yield from file
        return
    for line in itertools.count(1):
        if not (read := file.readline(longest + 1)):
            return
        if len(read) > longest:
            raise UserError(f"{path}, line {line}: longer than {longest:,} bytes; write a sentence or paragraph a line")
        yield read


def _ends_in_cr(path: Path) -> bool:
    """Whether there is a CR and not one LF. Other files show an LF in their first bytes, and are left at once."""
    found = False
    size = 1 << 12
    with open_bytes(path) as file:
        while chunk := file.read(size):
            if b"\n" in chunk:
                return False
            found = found or b"\r" in chunk
            size = _CHUNK
    return found

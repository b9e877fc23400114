"""Rows of cells: tab-separated and .csv files.

A row that cannot be read is a Fault in its place, where it is known where the next one begins; else a UserError.
"""

import csv
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from glue_tasks.errors import UserError, warn_once
from glue_tasks.lines import Fault, Numbered, decoded, raw_lines, read_lines, shown, suffix_of

Cells = tuple[str, ...]
SEPARATORS = {"\t": "a tab", ",": "a comma", ";": "a semicolon", " ": "a space", "|": "a bar"}  # for a person


def read_cells(path: Path, separator: str = "", as_published: bool = False) -> Numbered[Cells]:
    """The line on which each row begins, and its cells.

    Tab-separated rows know no quoting and no escapes, as GLUE's do, so that quotation marks are ordinary characters;
    where every cell of the first row stands in quotation marks the file is quoted, as some programs export. A .csv
    file, and any other separator of one character, is quoted as in RFC 4180, or, where quotations begin after a space
    throughout, as in that without these spaces. What looks quoted or escaped and is not read so is a warning
    with an example, unless the file is known to have been published like that.
    """
    separator = separator_of(path, separator)
    plain = separator == "\t" and suffix_of(path) != ".csv"
    if len(separator) == 1 and (not plain or _is_quoted(path)):
        return _read_quoted(path, separator)
    return _read_plain(path, separator, as_published)


def separator_of(path: Path, separator: str) -> str:
    """What separates the file's cells, where the task says `separator`, or "" for what goes with the file's name."""
    if suffix_of(path) == ".csv":
        return separator or ","
    if separator not in ("", "\t") and suffix_of(path) == ".tsv":
        # An augmented table is written with tabs, whatever the task's own files have.
        first = next((text for _, text in read_lines(path)), "")
        return "\t" if isinstance(first, str) and "\t" in first else separator
    return separator or "\t"


_LARGEST_CELL = 1 << 24  # characters; a quotation that does not end is noticed there at the latest
_QUOTED_ROWS = 3  # of one file, before quotations in all of its rows look like a writer's
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_BLANK = Fault("a blank line between rows of one column", "remove it, or give the row a text")


def _read_plain(path: Path, separator: str, as_published: bool) -> Numbered[Cells]:
    before = width = rows = quoted = unquoted = in_rows = escaped = 0
    example = (0, "")
    for line, text in read_lines(path):
        blank_before, before = line > before + 1 and before > 0, line
        if isinstance(text, Fault):
            yield line, text
            continue
        cells = tuple(text.split(separator))
        if '"' in text:
            marks = [cell for cell in cells if '"' in cell]
            as_csv = [cell for cell in marks if _QUOTED.fullmatch(cell)]
            doubled = [cell for cell in as_csv if '""' in cell[1:-1]]
            quoted += len(doubled)
            unquoted += len(marks) - len(as_csv)
            in_rows += bool(as_csv)
            if as_csv and (not example[0] or (doubled and quoted == len(doubled))):
                example = line, (doubled or as_csv)[0]
        rows += 1
        escaped += "\\t" in text
        width = width or len(cells)
        if width == 1:
            # Where there is no separator, a row without a text looks like none, and a row that ended in CR like half.
            if blank_before:
                yield line - 1, _BLANK
            if "\r" in text:
                yield line, Fault("a carriage return inside a row of one column", "remove it, or end the row there")
                continue
        yield line, cells
    # Doubled marks, or a quotation in each row, perhaps below a header: what a writer does, and hardly an author.
    throughout = in_rows if in_rows >= max(rows - 1, _QUOTED_ROWS) else 0
    if (quoted or throughout) and not unquoted and not as_published:
        warn_once(
            f"{path}: {quoted or throughout:,} cells look quoted as in a .csv file, such as {shown(example[1], 60)} on "
            f"line {example[0]}, and are read as they stand, since a tab-separated file knows no quoting; if they are, "
            "write the file as .csv"
        )
    if escaped and not as_published:
        warn_once(f"{path}: \\t stands in {escaped:,} rows and is read as it stands, a backslash and a t")


def _is_quoted(path: Path) -> bool:
    """Whether the first row has several cells, all of them in quotation marks. A lone cell may be a quotation."""
    first = next((text for _, text in read_lines(path)), "")
    cells = first.split("\t") if isinstance(first, str) else []
    return len(cells) > 1 and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def _read_quoted(path: Path, separator: str) -> Numbered[Cells]:
    """RFC 4180: a cell may stand in quotation marks, and those inside it are doubled; it may then hold line breaks.

    Raises UserError where a quotation does not end: which rows it swallowed is not known.
    """
    csv.field_size_limit(_LARGEST_CELL)  # of every reader in the process: its default is too short for a document
    state = path.stat()
    skip_spaces = _begin_after_spaces(path, separator, state.st_size, state.st_mtime_ns)
    width = blank = 0
    for line, cells, _, unreadable in _csv_rows(path, separator, skip_spaces):
        if cells:
            width = width or len(cells)
            if width == 1 and blank:
                yield blank, _BLANK
            yield line, unreadable or tuple(cells)
        blank = line if width and not cells else 0


def _csv_rows(
    path: Path, separator: str, skip_spaces: bool
) -> Iterator[tuple[int, list[str], list[str], Fault | None]]:
    """The line on which each row begins, its cells, none for a blank line, the lines as they are written, and what
    cannot be decoded of them."""
    written: list[str] = []
    faults: list[Fault] = []

    def lines() -> Iterator[str]:
        for raw in raw_lines(path):
            try:
                text = decoded(raw)
            except Fault as fault:
                faults.append(fault)
                text = raw.decode(errors="replace")
            written.append(text)
            yield text

    reader = csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=skip_spaces)
    line = 1
    try:
        for cells in reader:
            yield line, cells, written, faults[-1] if faults else None
            written.clear()
            faults.clear()
            line = reader.line_num + 1
    except csv.Error as error:
        what = str(error).partition(" - ")[0]  # without what a programmer may do about it
        raise UserError(
            f"{path}, line {line}: quotation marks or line breaks that are not as RFC 4180 says ({what}); put a cell "
            "that holds any in quotation marks, and double the marks inside it"
        ) from None


@functools.lru_cache(maxsize=64)
def _begin_after_spaces(path: Path, separator: str, size: int, changed: int) -> bool:
    """Whether quotations begin after a space (`1, "a, b"`), and the file can be read as if such spaces were not there.

    RFC 4180 has no such quotation: it would be a mark inside a cell that is not quoted. What is done is a warning. The
    whole file is scanned, once: `size` and `changed` are those of the file that was.
    """
    sign = re.compile(rb'(^|%b) +"' % re.escape(separator.encode()))
    if not any(sign.search(line) for line in raw_lines(path)):
        return False  # as nearly always
    example = ""
    try:
        for line, cells, written, _ in _csv_rows(path, separator, skip_spaces=False):
            # Text of a quoted cell may begin so too.
            quoted = {cell: '"' + cell.replace('"', '""') + '"' for cell in cells if re.match(' +"', cell)}
            if cell := next((cell for cell in quoted if quoted[cell] not in "".join(written)), ""):
                example = f"such as {shown(cell.strip(), 60)} on line {line}"
                break
    except UserError:
        pass  # the reading itself raises it again
    if not example:
        return False
    try:
        for _ in _csv_rows(path, separator, skip_spaces=True):
            pass
    except UserError:
        warn_once(
            f"{path}: cells have quotation marks after a space, {example}, and are not quoted throughout; the marks "
            "are read as they stand"
        )
        return False
    warn_once(
        f"{path}: quotations begin after a space, {example}; they are read as quoted cells, and spaces at the start of "
        "a cell are left out"
    )
    return True

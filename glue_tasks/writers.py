"""Files written whole or not at all: tables of tab-separated cells, and JSON."""

import contextlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_BREAKS = re.compile(r"[\t\r\n]+")


class TableWriter:
    """Writes rows of cells as they are read: tabs between, no quoting, LF ends, no byte-order mark.

    The file appears under its name only when the `with` block ends without an error, as by `whole_file`. A tab or line
    break inside a cell becomes a space; `breaks_replaced` counts the cells so changed.
    """

    def __init__(self, path: Path, header: Iterable[str] | None = None):
        self.path = path
        self.rows = 0
        self.breaks_replaced = 0
        self._header = header

    def __enter__(self) -> "TableWriter":
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(whole_file(self.path))
            self._file = stack.enter_context(open(partial, "w", encoding="utf-8", newline=""))
            self._files = stack.pop_all()
        if self._header is not None:
            self._file.write("\t".join(_BREAKS.sub(" ", name) for name in self._header) + "\n")
        return self

    def write(self, cells: Iterable[str]) -> None:
        line = "\t".join(cells := list(cells))
        if line.count("\t") != len(cells) - 1 or "\n" in line or "\r" in line:
            self.breaks_replaced += sum(1 for cell in cells if _BREAKS.search(cell))
            line = "\t".join(_BREAKS.sub(" ", cell) for cell in cells)
        self._file.write(line + "\n")
        self.rows += 1

    def append(self, rows: BinaryIO) -> None:
        """Copy rows from a file that such a writer wrote without a header; `rows` does not count them."""
        self._file.flush()
        shutil.copyfileobj(rows, self._file.buffer, 1 << 20)

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._files.callback(self._sync)  # called before the file is closed
        self._files.__exit__(*error)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write to, which becomes `path` when the block ends without an error, and is gone otherwise.

    Several processes may make the same file at once: each has its own, and keeps it locked. What a killed one has left
    is not locked, and is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.iterdir():
        if left.name.startswith(f"{path.name}.") and left.suffix == ".partial":
            _remove_unlocked(left)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    with open(partial, "wb") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield partial
            partial.replace(path)
        except OSError as failure:
            failure.filename = failure.filename or str(path)  # a full disk does not say which file
            raise
        finally:
            partial.unlink(missing_ok=True)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError), open(path, "rb") as file:  # or it is in use, or gone by now
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait for another process that holds the same lock; the system lets go of it when that one is killed."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w", encoding="utf-8") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all, making its folder if need be. Raises ValueError at NaN or infinity, which
    JSON does not have.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")

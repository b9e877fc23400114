"""A tokenised corpus on disk: flat arrays, mapped into memory when they are read.

`pieces.bin` has the ids of all pieces, two bytes each where the vocabulary allows it; `begins.bin` a bit for each,
whether it begins a word; `lines.bin` where each line begins among the pieces, `documents.bin` where each document
begins among the lines. `corpus.json`, written last, holds their digests.

Shards, a few megabytes each, are the work of one process at a time. A shard is there when it is whole; when all are,
they are joined, so that a reader has four files to open and not thousands.
"""

import contextlib
import json
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glue_tasks.errors import UserError
from glue_tasks.seals import is_whole, seal
from glue_tasks.writers import whole_file

RECORD = "corpus.json"
_SHARDS = "shards"
_PIECES, _BEGINS, _LINES, _DOCUMENTS = (f"{name}.bin" for name in ("pieces", "begins", "lines", "documents"))


class Corpus:
    """The pieces of a corpus, of P pieces in L lines in D documents; all arrays are read-only.

    pieces: (P,) ids. lines: (L + 1,) where each line begins among the pieces, and P. documents: (D + 1,) where each
    document begins among the lines, and L. No line is without pieces, no document without lines.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        self.pieces = mapped(folder / _PIECES, np.dtype(self.record["dtype"]))
        self._begins = mapped(folder / _BEGINS, np.dtype(np.uint8))
        self.lines = mapped(folder / _LINES, np.dtype(np.int64))
        self.documents = mapped(folder / _DOCUMENTS, np.dtype(np.int64))

    def begins_word(self, start: int, end: int) -> np.ndarray:
        """Of the pieces from `start` to before `end`, which begin a word: bool."""
        first = start // 8
        bits = np.unpackbits(self._begins[first : -(-end // 8)], bitorder="little")
        return bits[start - 8 * first : end - 8 * first].view(np.bool_)

    def __reduce__(self) -> tuple[type["Corpus"], tuple[Path]]:
        return Corpus, (self.folder,)  # another process maps the files again, and is sent no pieces

    def digests(self) -> list[str]:
        """Of the files that it was made of."""
        return [file["sha256"] for file in self.record["corpus"]]

    def describe(self) -> dict[str, Any]:
        """For a report: files, documents, lines and pieces."""
        return {name: self.record[name] for name in ("corpus", "documents", "lines", "pieces")}


def mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    """A file of such values as a read-only array: (N,)."""
    if not path.stat().st_size:  # which cannot be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def opened(folder: Path) -> Corpus | None:
    """The corpus of a folder, or None if it is not there as a whole."""
    if not is_whole(folder / RECORD):
        return None
    remove_shards(folder)  # of a process that was killed after it had joined them
    return Corpus(folder)


def remove_shards(folder: Path) -> None:
    shutil.rmtree(folder / _SHARDS, ignore_errors=True)


@dataclass
class Shard:
    """The pieces of some lines, one line's after the other's."""

    pieces: np.ndarray  # (P,)
    begins: np.ndarray  # (P,) bool
    lengths: np.ndarray  # (lines,) of each line; none is 0
    documents: np.ndarray  # which lines begin a document, in ascending order
    is_open: bool  # whether the next line that has pieces, in a later shard, begins one

    def write(self, path: Path) -> None:
        """The file appears when it is whole; its checksums tell whether it still is."""
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.savez(
                file,
                pieces=self.pieces,
                begins=np.packbits(self.begins, bitorder="little"),
                lengths=self.lengths,
                documents=self.documents,
                is_open=np.array(self.is_open),
            )

    @staticmethod
    def read(path: Path) -> "Shard":
        with np.load(path, allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in arrays.files}
        begins = np.unpackbits(read.pop("begins"), count=len(read["pieces"]), bitorder="little")
        return Shard(**{**read, "begins": begins.view(np.bool_), "is_open": bool(read["is_open"])})


def shard_path(folder: Path, number: int) -> Path:
    return folder / _SHARDS / f"{number:06}.npz"


def is_whole_shard(path: Path) -> bool:
    """Whether the shard is there as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return False


def join(folder: Path, count: int, dtype: np.dtype, named: str, more: dict[str, Any]) -> Corpus:
    """The corpus of a folder's shards, which are then removed. more: of the record.

    Raises UserError if there is not one piece. named: the corpus, for the sentence.
    """
    with contextlib.ExitStack() as stack:
        names = (_PIECES, _BEGINS, _LINES, _DOCUMENTS)
        partials = [stack.enter_context(whole_file(folder / name)) for name in names]
        with contextlib.ExitStack() as files:
            outputs = [files.enter_context(open(partial, "wb")) for partial in partials]
            sizes = _write_joined((Shard.read(shard_path(folder, number)) for number in range(count)), outputs, dtype)
        if not sizes["pieces"]:
            raise UserError(f"{named} holds no text; name files that do")
    seal(folder / RECORD, *(folder / name for name in names), dtype=dtype.name, **sizes, **more)
    shutil.rmtree(folder / _SHARDS, ignore_errors=True)
    return Corpus(folder)


def _write_joined(shards: Iterable[Shard], outputs: list[Any], dtype: np.dtype) -> dict[str, int]:
    pieces, begins, lines, documents = outputs
    counts = {"pieces": 0, "lines": 0, "documents": 0}
    bits = np.empty(0, np.bool_)  # fewer than the eight of a byte
    is_open = False
    for shard in shards:
        pieces.write(shard.pieces.astype(dtype).tobytes())
        bits = np.append(bits, shard.begins)
        whole = len(bits) - len(bits) % 8
        begins.write(np.packbits(bits[:whole], bitorder="little").tobytes())
        bits = bits[whole:]
        ends = np.cumsum(shard.lengths, dtype=np.int64)  # (lines,)
        lines.write((counts["pieces"] + ends - shard.lengths).astype(np.int64).tobytes())
        starts = shard.documents.astype(np.int64)
        if is_open and len(ends):
            starts = np.union1d(starts, [0])
        documents.write((counts["lines"] + starts).astype(np.int64).tobytes())
        is_open = shard.is_open or (is_open and not len(ends))
        counts["pieces"] += len(shard.pieces)
        counts["lines"] += len(ends)
        counts["documents"] += len(starts)
    begins.write(np.packbits(bits, bitorder="little").tobytes())
    lines.write(np.array([counts["pieces"]], np.int64).tobytes())
    documents.write(np.array([counts["lines"]], np.int64).tobytes())
    return counts

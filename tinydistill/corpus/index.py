"""The places of a corpus's rows, written once to disk beside it, to be mapped into memory."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from glue_tasks.seals import is_whole, seal
from glue_tasks.writers import whole_file
from tinydistill.corpus.store import Corpus

_CODE = ("held_out.py", "packing.py", "pairs.py")  # which decides the rows too
_AT_ONCE = 1 << 16  # rows


def index_path(corpus: Corpus, decided_by: str) -> Path:
    """The file of some rows. decided_by: all that decides them beside the corpus and the code."""
    code = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _CODE]
    key = hashlib.sha256("\0".join([*code, decided_by]).encode()).hexdigest()[:16]
    return corpus.folder / f"rows-{key}.bin"


def write_index(path: Path, dtype: np.dtype, rows: Iterator[tuple]) -> None:
    """Write the rows, (rows,) of the dtype, unless they are there as a whole."""
    record = path.with_suffix(".json")
    if is_whole(record):
        return
    with (
        whole_file(path) as partial,
        open(partial, "wb") as file,
        tqdm(desc="make rows of the corpus", unit=" rows", unit_scale=True, leave=False, delay=2) as bar,
    ):
        while block := list(itertools.islice(rows, _AT_ONCE)):
            file.write(np.array(block, dtype=dtype).tobytes())
            bar.update(len(block))
    seal(record, path)


def unnamed(folder: Path, blocks: Iterator[np.ndarray], dtype: type) -> np.ndarray:
    """The values of the blocks, one block's after the other's, as a read-only array (N,) in a file without a name.

    The system drops from memory what is not read, and the file when the array is.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(block.astype(dtype, copy=False).tobytes())
        file.flush()
        return np.asarray(np.memmap(file, dtype=dtype, mode="r")) if file.tell() else np.empty(0, dtype)


def remove_index(path: Path) -> None:
    """Remove one that is read no more."""
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)

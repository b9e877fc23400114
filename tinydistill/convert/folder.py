"""A model folder that is written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from glue_tasks.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

# What a folder of a model holds. Nothing else is ever deleted.
_OF_A_MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def check_output(folder: Path, overwrite: bool) -> None:
    """Raises UserError if something is there that may not be replaced: without `overwrite` anything, with it all but
    the files of a model.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another --output")
    if other := sorted(path.name for path in folder.iterdir() if path.name not in _OF_A_MODEL or path.is_dir()):
        raise UserError(f"the folder {folder} holds something else than a model ({other[0]}); choose another --output")
    if not overwrite:
        raise UserError(f"the folder {folder} holds a model; choose another --output, or replace it with --overwrite")


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `folder` when the block ends without an error.

    It is beside it, called NAME.partial, and locked. What a killed process has left there is removed.
    """
    folder = folder.resolve()  # of a link, what it leads to
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY) if fcntl else None
    try:
        if fcntl and lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is writing {folder}; wait for it, or choose another --output"
                ) from None
        _empty(partial)
        try:
            yield partial
            _replace(folder, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        if lock is not None:
            os.close(lock)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _replace(folder: Path, partial: Path) -> None:
    """Put the new folder in the old one's place; a kill in between leaves one of them whole."""
    old = folder.with_name(f"{folder.name}.replaced")
    if folder.exists():
        check_output(old, overwrite=True)  # of a killed process, or a folder of the user's own
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)

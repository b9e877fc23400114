"""How a user is told: a mistake is one sentence on standard error and exit code 2, a warning is given once."""

import contextlib
import errno
import functools
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]


logger = logging.getLogger(__name__)


class UserError(Exception):
    """A mistake the user can correct. The message is one sentence: what is wrong, where, and what to do."""


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, unless it was logged before: a file may be read several times."""
    logger.warning(message)


# What safetensors, torch, Rust and the system say in exceptions of their own, or in one without a number.
_FULL_DISK = (f"(os error {errno.ENOSPC})", f"(os error {errno.EFBIG})", "inline_container", "PytorchStreamWriter")
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc", "failed to map segment")
_NO_THREADS = ("can't start new thread", "ThreadPoolBuildError", "Resource temporarily unavailable")

_TORCH_NEEDS = 1536 << 20  # bytes to be mapped, with a model of no size; with less, C++ ends the process by itself


def check_memory_limit() -> None:
    """Raises UserError if this process may not map what torch needs to start."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    if 0 <= limit < _TORCH_NEEDS:
        raise UserError(
            f"this process may use {limit / 2**30:.1f} GiB of memory (ulimit -v), and torch needs "
            f"{_TORCH_NEEDS / 2**30:.1f} GiB to start; allow more"
        )


def is_outside(error: BaseException) -> bool:
    """Whether the cause lies outside the program: the disk, memory, permissions. Such an error says so by itself."""
    return _sentence(error, "") is not None


def _sentence(error: BaseException, again: str) -> str | None:
    """The sentence for an error whose cause lies outside the program, or None for a bug of this program."""
    says = str(error)
    number, file = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    if isinstance(error, UserError):
        return says
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(sign in says for sign in _FULL_DISK):
        return f"the disk is full{f' while writing {file}' if file else ''}; free some space, then run {again}"
    if isinstance(error, PermissionError):
        return f"no permission to open {file}; choose another folder or change its permissions"
    if number == errno.EROFS:
        return f"{file or 'a file'} cannot be written on a read-only file system; choose another folder"
    if number == errno.ELOOP or says.startswith("Symlink loop"):  # as pathlib says it
        where = file or says.removeprefix("Symlink loop from ").strip("'")
        return f"{where} is a link that leads back to itself; name the real file or folder"
    if isinstance(error, FileExistsError) and Path(file or "").is_symlink():
        return f"{file} is a link that leads nowhere, or back to itself; name the real folder"
    if isinstance(error, FileExistsError | NotADirectoryError) and (on_the_way := _file_on_the_way(file)):
        return f"{on_the_way} is a file where a folder is needed; choose another folder, or move the file away"
    if folder := _deleted(error):
        return f"there is no folder {folder}; make it, or start again if it was deleted while the command was at work"
    if any(sign in says for sign in _NO_THREADS):
        return "no thread can be started; allow this user more processes (ulimit -u), or more memory (ulimit -v)"
    # torch.OutOfMemoryError is not imported by name: this package does not depend on torch.
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or any(sign in says for sign in _NO_MEMORY):
        return (
            "out of memory; use a smaller --batch-size, a shorter --max-length or a smaller model, or allow more "
            "(ulimit -v)"
        )
    return None


def _deleted(error: BaseException) -> Path | None:
    """The folder that is gone, of a file that was to be written or read in it."""
    named = re.search(r"Parent directory (.+) does not exist", str(error))  # torch.save
    if named:
        return Path(named[1])
    path = Path(error.filename).parent if isinstance(error, FileNotFoundError) and error.filename else None
    return path if path and not path.exists() else None


def _file_on_the_way(filename: object) -> Path | None:
    """The part of a path that is a file, though files were to lie below it."""
    path = Path(filename) if isinstance(filename, str | Path) else Path()
    return next((part for part in (path, *path.parents) if part.is_file()), None)


@contextlib.contextmanager
def exit_on_user_error(resumable: bool = True) -> Iterator[None]:
    """Turn a user's mistake, a full or read-only disk, missing permission or memory into one sentence and exit code 2.

    Ctrl-C becomes exit code 130. Anything else is a fault of the program and keeps its traceback.
    resumable: whether the command has --resume, and the sentence may offer it.
    """
    again = "the same command with --resume" if resumable else "the same command again"
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; to go on, run {again}", file=sys.stderr)
        raise SystemExit(130) from None
    except BaseException as error:  # Rust's panics are no Exceptions
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        sentence = _sentence(error, again)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        raise SystemExit(2) from None

"""The rows of a task from the hub, from its cache, or from a local clone of a repository.

All go through `datasets.load_dataset`, which reads the repository's parquet and runs no code of it; its Arrow copy
stays in its cache (HF_HOME). HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 forbids the network.
"""

import contextlib
import errno
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.task import Hub

_SECONDS_TO_ANSWER = 10
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Unreachable(UserError):
    """Neither could the hub be asked nor does its cache have the rows."""


class _NoFiles(UserError):
    """A folder without the files that were looked for."""


@dataclass
class Repositories:
    """Where repositories are taken from.

    source: a local clone, or a folder of clones (OWNER/NAME or NAME below it), in place of the hub.
    offline: use what the hub's cache has. Becomes true when the hub does not answer, which is asked once.
    """

    source: Path | None
    offline: bool
    say: Callable[[str], None]
    _asked: bool = False

    def load(self, hub: Hub, splits: list[str]) -> list[Any]:
        """The hub's splits as `datasets.Dataset`s.

        Raises UserError, or Unreachable; a full disk stays an OSError.
        """
        if self.source is not None:
            return _load_folder(_clone(self.source, hub), hub, splits)
        self.offline = self.offline or _is_offline()
        if not self.offline and not self._asked:
            self._asked = True
            self._go_on_if(_hub_answers())
        if not self.offline:
            try:
                return _load_from(hub.repository, hub, splits)
            except Unreachable:
                self._go_on_if(False)
        with _without_network():
            try:
                return _load_from(hub.repository, hub, splits)  # if it was loaded before
            except Unreachable:
                snapshot = _snapshot(hub)
                if snapshot is None:
                    raise
            try:
                return _load_folder(snapshot, hub, splits)
            except _NoFiles as error:
                raise Unreachable(str(error)) from None

    def _go_on_if(self, answers: bool) -> None:
        if not answers:
            self.offline = True
            self.say("the hub does not answer; looking in its cache")


def _load_folder(folder: Path, hub: Hub, splits: list[str]) -> list[Any]:
    # The cache knows a folder by its name and README only: a file that was mended would be answered from before.
    fresh = {"download_mode": "reuse_cache_if_exists"}
    try:
        return _load_from(str(folder), hub, splits, **fresh)
    except _NoFiles:
        if not (folder / hub.config).is_dir():
            raise
    # A part of a repository, which is refused if the README's first configuration is not in it.
    files = {split: f"{hub.config}/{split}-*" for split in splits}
    return _load_from(str(folder), hub, splits, data_files=files, **fresh)


def _load_from(path: str, hub: Hub, splits: list[str], **options: Any) -> list[Any]:
    """`datasets.load_dataset`, with one sentence for each way in which it can fail."""
    import datasets

    try:
        with _quiet(datasets):
            return datasets.load_dataset(path, hub.config, split=splits, **options)
    except Exception as error:
        if (explained := _explained(error, path, hub)) is None:
            raise
        raise explained from error


def _explained(error: Exception, path: str, hub: Hub) -> Exception | None:
    """The error as a sentence, or a full disk as what it is; None for what is neither the repository nor the disk."""
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError, DatasetsError, SplitsVerificationError
    from huggingface_hub.errors import HfHubHTTPError

    chain = [error]
    while isinstance(before := chain[-1].__cause__ or chain[-1].__context__, Exception) and before not in chain:
        chain.append(before)
    # A fault met while reading is told by its cause.
    cause = chain[1] if isinstance(error, DatasetGenerationError) and len(chain) > 1 else error
    what = (str(cause).splitlines() or [""])[0].rstrip(".")
    is_folder = path != hub.repository
    cure = "get a whole copy, README.md included" if is_folder else "try again later, or give a copy with --source"
    for each in chain:
        if isinstance(each, OSError) and (each.errno in _FULL or "Not enough disk space" in str(each)):
            return OSError(each.errno or errno.ENOSPC, str(each), each.filename or "the cache of datasets (HF_HOME)")
        if isinstance(each, PermissionError):
            return each
    if isinstance(error, RuntimeError) and "scripts are no longer supported" in what:
        return UserError(
            f"{path} makes its data by a script, and scripts are not run; get a copy that has parquet files"
        )
    if isinstance(error, ValueError) and "Couldn't find cache" in what:
        return Unreachable(what)
    if isinstance(error, DatasetNotFoundError):
        return UserError(f"{path}: the hub does not have it, or not for you ({what}); {cure}")
    if isinstance(error, SplitsVerificationError):
        what = "its rows are not those that its README.md declares"
    if is_folder and isinstance(error, FileNotFoundError | SplitsVerificationError):
        # Of a configuration whose files are absent, the library may read those of another.
        return _NoFiles(f"{path} does not have the files of {hub.config} ({what}); {cure}")
    if _is_of("yaml", error):
        return UserError(f"the README.md of {path} is not the YAML it should begin with ({what}); {cure}")
    if any(isinstance(each, ConnectionError | HfHubHTTPError) or _is_of("httpx", each) for each in chain):
        return Unreachable(f"{path} cannot be reached ({what})")
    if isinstance(error, ValueError | OSError | DatasetsError):
        return UserError(f"{path} ({hub.config}) cannot be read ({what}); {cure}")
    return None


def _is_of(package: str, error: Exception) -> bool:
    """Whether another's package, which is not one of ours to import, raised it; httpx2 is httpx too."""
    return type(error).__module__.startswith(package)


def _is_offline() -> bool:
    """Whether HF_HUB_OFFLINE or HF_DATASETS_OFFLINE forbids the network."""
    import datasets.config
    import huggingface_hub.constants

    return bool(datasets.config.HF_HUB_OFFLINE or huggingface_hub.constants.HF_HUB_OFFLINE)


def _hub_answers() -> bool:
    """Whether the hub, or the mirror in HF_ENDPOINT, answers anything within some seconds.

    Without this question its client tries again for half a minute where there is no network, and for minutes where a
    firewall swallows the requests.
    """
    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(
            urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=_SECONDS_TO_ANSWER
        ):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the client may know other certificates
    except OSError:
        return False
    except ValueError:
        raise UserError(f"HF_ENDPOINT is {constants.ENDPOINT!r}, which is no web address") from None


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Both libraries as under HF_HUB_OFFLINE=1, which they read only when they are imported."""
    import datasets.config
    import huggingface_hub.constants

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the library's own words on what is told in one sentence; its progress bars stay."""
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(before)


def _snapshot(hub: Hub) -> Path | None:
    """The repository in the hub's cache (`hf download`), or None. `load_dataset` does not look there by itself."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(hub.repository, repo_type="dataset", local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _clone(source: Path, hub: Hub) -> Path:
    """The clone of the repository: OWNER/NAME or NAME below the folder, else the folder itself.

    It has to have the hub's README.md: without, the library would read any data below as the configuration "default".
    """
    source = source.expanduser().resolve()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}; --source takes a local clone of {hub.repository}")
    name = hub.repository.partition("/")[2]
    for folder in (source / hub.repository, source / name, source):
        if _has_card(folder):
            return folder
    raise UserError(
        f"{source} has no clone of {hub.repository}: there is no README.md of the hub in it, nor in {hub.repository} "
        f"or {name} below it; get a whole copy, README.md included"
    )


def _has_card(folder: Path) -> bool:
    """Whether its README.md begins as those of the hub, with YAML that tells the configurations."""
    try:
        return (folder / "README.md").read_bytes().lstrip().startswith(b"---")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False

"""A task's Parquet files in its repository: fetched from the hub, or found in the hub's cache or a local clone.

`huggingface_hub` fetches them, so that HF_ENDPOINT names a mirror, HF_HUB_CACHE another cache, and HF_HUB_OFFLINE=1
forbids the network. No code of a repository is run.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.columns import find_columns, wanted_columns
from glue_tasks.errors import UserError
from glue_tasks.files import open_rows
from glue_tasks.labels import is_unscored, output_order, read_label
from glue_tasks.lines import Fault, Numbered
from glue_tasks.records import Record, class_labels, named_records, open_parquet, parquet_batches
from glue_tasks.task import Hub, Task

_SECONDS_TO_ANSWER = 10  # without a limit the client waits for minutes where a firewall swallows its requests
_ROWS = 1 << 14  # rows of Parquet decoded at a time


class Unreachable(UserError):
    """Neither could the hub be asked nor does its cache have the files."""


@dataclass
class Repositories:
    """Where repositories are taken from.

    source: a local clone, or a folder of clones (OWNER/NAME or NAME below it), in place of the hub.
    offline: use what the hub's cache has. Becomes true when the hub does not answer.
    """

    source: Path | None
    offline: bool
    say: Callable[[str], None]

    def folder(self, hub: Hub, splits: Sequence[str]) -> Path:
        """A folder laid out as the repository, with the files of the hub's splits. Raises UserError or Unreachable."""
        if self.source is not None:
            return _find_clone(self.source, hub, splits)
        from huggingface_hub import HfApi, constants, snapshot_download

        self.offline = self.offline or constants.HF_HUB_OFFLINE
        if not self.offline and not constants.ENDPOINT.startswith(("http://", "https://")):
            raise UserError(f"HF_ENDPOINT is {constants.ENDPOINT!r}, which is no web address")
        if not self.offline:
            try:
                with _explained(hub):
                    HfApi().dataset_info(hub.repository, timeout=_SECONDS_TO_ANSWER)
            except Unreachable:
                self.offline = True
                self.say("the hub does not answer; looking in its cache")
        patterns = ["README.md", *(pattern for split in splits for pattern in _patterns(hub, split))]
        with _explained(hub):
            path = snapshot_download(
                hub.repository,
                repo_type="dataset",
                revision=hub.revision,
                allow_patterns=patterns,
                local_files_only=self.offline,
            )
        if missing := _missing(Path(path), hub, splits):
            if self.offline:
                raise Unreachable(f"the cache does not have {missing} of {hub.repository}")
            raise UserError(f"{hub.repository} has no files {missing}; give a copy that has them with --source")
        return Path(path)


@contextlib.contextmanager
def _explained(hub: Hub) -> Iterator[None]:
    """Errors of the network or the hub become a sentence: Unreachable, or UserError. All others stay as they are."""
    from huggingface_hub import constants
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        yield
    except Exception as error:
        what = (str(error).splitlines() or [""])[0].rstrip(".")
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = error.filename or constants.HF_HUB_CACHE  # a full disk does not say which file
        elif isinstance(error, RepositoryNotFoundError):  # one that is private or gated too
            raise UserError(
                f"{hub.repository}: the hub does not have it, or not for you ({what}); try again later, or give a copy "
                "with --source"
            ) from error
        # The client's HTTP library is not one of ours to import.
        elif type(error).__module__.startswith(("huggingface_hub", "httpx", "httpcore")):
            raise Unreachable(f"{hub.repository} cannot be reached ({what})") from error
        raise


def _patterns(hub: Hub, split: str) -> tuple[str, ...]:
    """Where a repository has the Parquet files of a split: below its configuration, or where it has only one.

    The last is that of what the hub itself converts.
    """
    return f"{hub.config}/{split}-*.parquet", f"data/{split}-*.parquet", f"{hub.config}/{split}/*.parquet"


def _shards(folder: Path, hub: Hub, split: str) -> list[Path]:
    """The files of a split in their order; a large one is in several."""
    found = (sorted(folder.glob(pattern)) for pattern in _patterns(hub, split))
    return next((shards for shards in found if shards), [])


def _missing(folder: Path, hub: Hub, splits: Sequence[str]) -> str:
    return next((_patterns(hub, split)[0] for split in splits if not _shards(folder, hub, split)), "")


def _find_clone(source: Path, hub: Hub, splits: Sequence[str]) -> Path:
    """The clone of the repository: OWNER/NAME or NAME below the folder, else the folder itself."""
    source = source.expanduser().resolve()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}; --source takes a local clone of {hub.repository}")
    name = hub.repository.partition("/")[2]
    places = [source / hub.repository, source / name, source]
    for folder in places:
        if not _missing(folder, hub, splits):
            return folder
    folder = next(folder for folder in places if folder.is_dir())
    raise UserError(
        f"{source} has no whole clone of {hub.repository}: there is no file {_missing(folder, hub, splits)} in it, nor "
        f"in {hub.repository} or {name} below it; get a whole copy"
    )


@dataclass(frozen=True)
class HubSplit:
    """A split of a repository: its Parquet files, and their columns with the names of the labels."""

    shards: Sequence[Path]
    schema: Any  # pyarrow.Schema; its metadata has the names of the labels, where the repository gives any
    num_rows: int
    is_named_by_card: bool  # the README.md has the names of the labels, and the files do not

    def batches(self) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es."""
        for path in self.shards:
            for batch in parquet_batches(path, _ROWS):
                yield batch.cast(self.schema)


def read_split(folder: Path, hub: Hub, split: str) -> HubSplit:
    """The hub's split in a folder laid out as its repository. Raises UserError if a file is damaged."""
    shards = _shards(folder, hub, split)
    num_rows = 0
    for path in reversed(shards):
        with open_parquet(path) as file:
            num_rows += file.metadata.num_rows
            schema = file.schema_arrow
    declared = None if class_labels(schema) else _declared(folder, hub)
    is_named_by_card = declared is not None and declared.names == schema.names and bool(class_labels(declared))
    return HubSplit(shards, declared if is_named_by_card else schema, num_rows, is_named_by_card)


def _declared(folder: Path, hub: Hub) -> Any:
    """The `pyarrow.Schema` that the repository's README.md declares, with the names of labels; None without one."""
    import datasets  # seconds to import, and needed only for files that do not name their labels

    card = folder / "README.md"
    if not card.is_file():
        return None
    try:
        infos = datasets.info.DatasetInfosDict.from_directory(str(folder))
    except Exception as error:  # of YAML's reader, or of the library about what it read
        what = (str(error).splitlines() or [""])[0]
        raise UserError(f"{card} is not the YAML it should begin with ({what}); get a whole copy") from None
    features = infos[hub.config].features if hub.config in infos else None
    return features.arrow_schema if features else None


def check_split(task: Task, hub: Hub, name: str, split: HubSplit) -> None:
    """Raises UserError if the rows cannot be those of the task's split `name`: their number, columns or labels.

    A test split may have labels in all rows or in none.
    """
    where = f"{hub.repository} ({hub.config})"
    cure = f"get the files of {task.name} from {task.homepage}"
    if split.num_rows != hub.rows[name]:
        raise UserError(
            f"{where} has {split.num_rows:,} rows in {hub.splits[name]} where {hub.rows[name]:,} are published; "
            f"nothing was written: {cure}"
        )
    of_rows = task.kind in ("tokens", "spans")
    if fault := _fault_of_rows(task, name, split) if of_rows else _fault(task, name.startswith("test"), split):
        raise UserError(f"{where}, {name}: {fault}; {cure}")


def _fault_of_rows(task: Task, name: str, split: HubSplit) -> str:
    """What is wrong with the rows of tokens or spans, in words; "" if nothing is."""

    def records() -> Numbered[Record]:
        return enumerate((record for batch in split.batches() for record in named_records(batch)), start=1)

    try:
        opened = open_rows(task, split.shards[0], name, records=records)
    except UserError as error:
        return str(error)
    tally = opened.survey()
    return f"{tally.skipped:,} rows cannot be read, {tally.faults()}" if tally.skipped else ""


def _fault(task: Task, is_test: bool, split: HubSplit) -> str:
    """What is wrong with the columns, label names, texts or labels, in words; "" if nothing is."""
    columns = split.schema.names
    wanted = wanted_columns(task, labelled=True)
    found = find_columns(task, wanted, columns)
    if isinstance(found, Fault) and is_test:
        wanted = wanted_columns(task, labelled=False)
        found = find_columns(task, wanted, columns)
    if isinstance(found, Fault):
        return f"{found.what}; {found.cure}"
    label = columns[found[-1]] if len(wanted) > len(task.text_columns) else ""
    names = class_labels(split.schema).get(label)
    if names and output_order(task, names) is None:
        return f"the labels are {', '.join(names)}, those of {task.name} are {', '.join(task.labels)}"
    labels: set[Any] = set()
    for batch in split.batches():
        for text in (columns[at] for at in found[: len(task.text_columns)]):
            if batch[text].null_count:
                return f"a row has nothing in column {text!r}"
        labels |= {*batch[label].to_pylist()} if label else set()
    some, none = labels - {None, -1}, labels & {None, -1}
    if none and (some or not is_test):
        return f"a row has the label {next(iter(some))}, another has none" if is_test else "a row has no label"
    for value in some:
        written = names[value] if names and value in range(len(names)) else str(value)
        if read_label(task, written) is None and not is_unscored(task, written):
            known = "a number" if task.is_regression else f"one of {', '.join(task.label_codes or task.labels)}"
            return f"the label {written!r} is not {known}"
    return ""

"""From the hub onto the disk: a task's Parquet files as the hub has them, or as text, checked before any is written."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from glue_tasks.errors import UserError
from glue_tasks.hub_files import HubSplit, Repositories, Unreachable, check_split, read_split
from glue_tasks.lines import RECORDS, Fault, suffix_of
from glue_tasks.places import NotThere, find_file, find_folder, stem_of
from glue_tasks.records import named_records
from glue_tasks.task import CONVERTED, Task
from glue_tasks.writers import TableWriter, whole_file

Format = Literal["parquet", "tsv"]


def download(
    tasks: Sequence[Task],
    data_dir: Path,
    source: Path | None = None,
    offline: bool = False,
    say: Callable[[str], None] = print,
    format: Format = "parquet",
) -> None:
    """Write the files of each task that are not there yet; `say` gets a line for each file.

    source: a local clone of the tasks' repository, or a folder of clones (DIR/OWNER/NAME or DIR/NAME), instead of the
        hub. offline: use what the hub's cache has. format: "tsv" writes text under the official names instead, tables
        or JSON lines as the task's are, with the hub's columns and the names of the labels.

    A task that fails does not stop the others: what failed is reported at the end. A full disk stops all.

    Raises UserError: the sentence of what failed; if there are several, they are said, and it names the tasks.
    """
    repositories = Repositories(source, offline, say)
    failed: dict[str, str] = {}  # task -> its sentence, "" where the hub was not reached
    for task in tasks:
        try:
            _download(task, data_dir, repositories, say, format)
        except Unreachable:
            failed[task.name] = ""
        except UserError as error:
            failed[task.name] = str(error)
    sentences = [*filter(None, failed.values())]
    if unreachable := [task for task in tasks if failed.get(task.name) == ""]:
        sentences.append(_both_ways_out(unreachable, data_dir))
    if len(sentences) == 1:
        raise UserError(sentences[0])
    for sentence in dict.fromkeys(sentences):  # one repository may be missing for several tasks
        say(f"error: {sentence}")
    if failed:
        raise UserError(f"{len(failed)} of {len(tasks)} tasks are not complete, as said above: {', '.join(failed)}")


def _download(
    task: Task, data_dir: Path, repositories: Repositories, say: Callable[[str], None], format: Format
) -> None:
    """Write the missing files of a task; none before all are checked."""
    hub = task.hub
    if hub is None:
        raise UserError(f"the hub does not have {task.name}; its files come from {task.homepage}")
    there = set()
    for name in task.files:
        with contextlib.suppress(NotThere):
            say(f"{find_file(task, data_dir, name)}: there already, left alone")
            there.add(name)
    missing = [name for name in hub.splits if name not in there]
    if missing:
        source = repositories.folder(hub, [hub.splits[name] for name in missing])
        splits = {name: read_split(source, hub, hub.splits[name]) for name in missing}
        for name, split in splits.items():
            check_split(task, hub, name, split)
        with _folder(folder := find_folder(task, data_dir)):
            for name, split in splits.items():
                file = task.files[name] if format == "tsv" else f"{stem_of(task.files[name])}.parquet"
                if format == "tsv" and task.kind == "tokens":
                    file = f"{stem_of(file)}.jsonl"
                with tqdm(total=split.num_rows, desc=f"{task.name} {file}", unit=" rows", leave=False) as bar:
                    changed = (_write_parquet if file.endswith(".parquet") else _write_text)(split, folder / file, bar)
                note = f"; tabs and line breaks inside {changed:,} cells became spaces" if changed else ""
                say(f"{folder / file}: {split.num_rows:,} rows{note}")
    for name in task.files:
        if name not in hub.splits and name not in there:
            say(f"{task.files[name]} of {task.name} is not on the hub; {task.homepage} has it")


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder; if nothing gets written to it, it goes again, with those that were made for it."""
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for part in made:
            with contextlib.suppress(OSError):  # not empty
                part.rmdir()


def _write_parquet(split: HubSplit, path: Path, bar: tqdm) -> int:
    """Write the hub's file itself if there is one that names its labels; returns 0: no cell is changed."""
    import pyarrow.parquet

    with whole_file(path) as partial:
        if len(split.shards) == 1 and not split.is_named_by_card:
            with open(split.shards[0], "rb") as shard, open(partial, "wb") as copy:
                shutil.copyfileobj(shard, copy, 1 << 20)
            return 0
        with pyarrow.parquet.ParquetWriter(partial, split.schema) as file:
            for batch in split.batches():
                file.write_batch(batch)
                bar.update(len(batch))
    return 0


def _write_text(split: HubSplit, path: Path, bar: tqdm) -> int:
    """Write a table with a header, or JSON lines; returns the number of cells whose tabs and breaks were replaced."""
    is_json = suffix_of(path) in RECORDS
    with TableWriter(path, None if is_json else split.schema.names) as table:
        for batch in split.batches():
            for record in named_records(batch):
                if isinstance(record, Fault):
                    raise UserError(f"{split.shards[0]}: {record.what}")
                if is_json:
                    table.write([json.dumps(record, ensure_ascii=False)])
                else:
                    table.write("" if value is None else str(value) for value in record.values())
            bar.update(len(batch))
    return table.breaks_replaced


def _both_ways_out(tasks: list[Task], data_dir: Path) -> str:
    first = tasks[0]
    files = ", ".join(first.files[split] for split in first.hub.splits) if first.hub else ""
    put = f"{files} from {first.homepage} into {data_dir / first.name}"
    if len(tasks) > 1:
        put = f"the files of each into its folder ({put})"
    names = list(dict.fromkeys(task.hub.repository for task in tasks if task.hub))
    name, each = (names[0], "") if len(names) == 1 else ("NAME", f", NAME being each of {', '.join(names)}")
    converted = [task.hub.repository for task in tasks if task.hub and task.hub.revision]
    revision = f" --revision {CONVERTED}" if len(names) == 1 and converted else ""
    if len(names) > 1 and converted:
        each += f"; with --revision {CONVERTED} for {', '.join(dict.fromkeys(converted))}"
    fetch = f"`hf download {name} --repo-type dataset{revision} --local-dir DIR/{name}`{each}"
    return (
        f"the hub cannot be reached, and its cache does not have {', '.join(task.name for task in tasks)}: put {put}, "
        f"or fetch them where there is a network ({fetch}) and run this again with --source DIR"
    )

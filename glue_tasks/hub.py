"""From the hub into the official layout on disk, so that all else reads files only.

Where the rows come from stands in `hub_rows.py`, how one is written in `official_rows.py`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from glue_tasks.errors import UserError
from glue_tasks.hub_rows import Repositories, Unreachable
from glue_tasks.official_rows import OfficialRows, official_rows
from glue_tasks.places import NotThere, find_file, find_folder
from glue_tasks.task import Task
from glue_tasks.writers import TableWriter

_BATCH = 1000  # rows decoded at a time


def download(
    tasks: Sequence[Task],
    data_dir: Path,
    source: Path | None = None,
    offline: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Write the files of each task that are not there yet; `say` gets a line for each file.

    source: a local clone of the tasks' repository, or a folder of clones (DIR/OWNER/NAME or DIR/NAME), instead of the
        hub. offline: use what the hub's cache has.

    A task that fails does not stop the others: what failed is told at the end. A full disk stops all.

    Raises UserError: the sentence of what failed; if there are several, they are said, and it names the tasks.
    """
    repositories = Repositories(source, offline, say)
    failed: list[str] = []
    sentences: list[str] = []
    unreachable: list[Task] = []
    for task in tasks:
        try:
            _download(task, data_dir, repositories, say)
            continue
        except Unreachable:
            unreachable.append(task)
        except UserError as error:
            sentences.append(str(error))
        failed.append(task.name)
    if unreachable:
        sentences.append(_both_ways_out(unreachable, data_dir))
    if len(sentences) == 1:
        raise UserError(sentences[0])
    for sentence in dict.fromkeys(sentences):  # one repository may be missing for several tasks
        say(f"error: {sentence}")
    if failed:
        raise UserError(f"{len(failed)} of {len(tasks)} tasks are not complete, as said above: {', '.join(failed)}")


def _download(task: Task, data_dir: Path, repositories: Repositories, say: Callable[[str], None]) -> None:
    """Write what is missing; no file before the row counts, columns and label names of all are as they should be."""
    hub = task.hub
    if hub is None:
        raise UserError(f"the hub does not have {task.name}; its files come from {task.homepage}")
    there = {split: path for split in task.files if (path := _existing(task, data_dir, split))}
    for path in there.values():
        say(f"{path}: there already, left alone")
    missing = [split for split in hub.splits if split not in there]
    if missing:
        loaded = dict(zip(missing, repositories.load(hub, [hub.splits[split] for split in missing]), strict=True))
        for split, rows in loaded.items():
            if len(rows) != hub.rows[split]:
                raise UserError(
                    f"{hub.repository} ({hub.config}) has {len(rows):,} rows in {hub.splits[split]} where "
                    f"{hub.rows[split]:,} are published; nothing was written: get the files of {task.name} from "
                    f"{task.homepage}"
                )
        layouts = {split: official_rows(task, hub, split, rows.features, rows[0]) for split, rows in loaded.items()}
        with _folder(folder := find_folder(task, data_dir)):
            for split, rows in loaded.items():
                say(_write(task, rows, layouts[split], folder / task.files[split]))
    for split in task.files:
        if split not in hub.splits and split not in there:
            say(f"{task.files[split]} of {task.name} is not on the hub; {task.homepage} has it")


def _existing(task: Task, data_dir: Path, split: str) -> Path | None:
    try:
        return find_file(task, data_dir, split)
    except NotThere:
        return None


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


def _write(task: Task, rows: Any, layout: OfficialRows, path: Path) -> str:
    """Write a split (`datasets.Dataset`) and return a line that says so."""
    with (
        TableWriter(path, layout.header) as table,
        tqdm(total=len(rows), desc=f"{task.name} {path.name}", unit=" rows", leave=False) as bar,
    ):
        for batch in rows.iter(_BATCH):
            columns = batch.keys()
            for values in zip(*batch.values(), strict=True):
                table.write(layout.cells(dict(zip(columns, values, strict=True))))
            bar.update(len(values))
    changed = table.breaks_replaced
    note = f"; tabs and line breaks inside {changed:,} cells became spaces" if changed else ""
    return f"{path}: {table.rows:,} rows{note}"


def _both_ways_out(tasks: list[Task], data_dir: Path) -> str:
    first = tasks[0]
    files = ", ".join(first.files[split] for split in first.hub.splits) if first.hub else ""
    put = f"{files} from {first.homepage} into {data_dir / first.name}"
    if len(tasks) > 1:
        put = f"the files of each into its folder ({put})"
    names = list(dict.fromkeys(task.hub.repository for task in tasks if task.hub))
    name, each = (names[0], "") if len(names) == 1 else ("NAME", f", NAME being each of {', '.join(names)}")
    fetch = f"`hf download {name} --repo-type dataset --local-dir DIR/{name}`{each}"
    return (
        f"the hub cannot be reached, and its cache does not have {', '.join(task.name for task in tasks)}: put {put}, "
        f"or fetch them where there is a network ({fetch}) and run this again with --source DIR"
    )

"""Where a task's files are: folders in any case, files by their official names, other names and other formats."""

import os
from pathlib import Path

from glue_tasks.errors import UserError, warn_once
from glue_tasks.labels import composed
from glue_tasks.lines import SUFFIXES, TEXT_SUFFIXES, shown
from glue_tasks.task import Task

# Beside a train file of any format: what `python -m augment` makes of it.
AUGMENTED = "train_aug.tsv"
_AUGMENTED_RECORDS = "train_aug.jsonl"  # of tokens and spans, which are no cells


class NotThere(UserError):
    """No file of a split, by no name."""


def find_folder(task: Task, data_dir: Path) -> Path:
    """The task's folder below the data directory, by its name or another it is known by, in upper or lower case.

    The task's very name comes first, and is also the answer where there is none. Raises UserError if there are several
    others.
    """
    official = data_dir / task.name
    if official.is_dir() or not data_dir.is_dir():
        return official
    found = sorted(path for path in data_dir.iterdir() if _is_name_of(task, path.name) and path.is_dir())
    if len(found) > 1:
        raise UserError(
            f"{len(found)} folders could be that of {task.name}: {', '.join(map(str, found))}; keep one of them, or "
            f"name it {task.name}"
        )
    return found[0] if found else official


def _is_name_of(task: Task, folder: str) -> bool:
    return composed(folder.casefold()) in {composed(name.casefold()) for name in (task.name, *task.folders)}


def augmented_name(task: Task) -> str:
    """What the task's augmented training file is called, beside the train file."""
    return _AUGMENTED_RECORDS if task.kind in ("tokens", "spans") else AUGMENTED


def present_splits(task: Task, data_dir: Path) -> list[str]:
    """The splits of which a file is there."""
    return [split for split in task.files if _files(task, find_folder(task, data_dir), split)]


def stem_of(name: str) -> str:
    """A file's name without the suffix of its format, which the split's file in another format has too."""
    return next((name.removesuffix(end) for end in (*TEXT_SUFFIXES, *SUFFIXES)[::-1] if name.endswith(end)), name)


def _files(task: Task, folder: Path, split: str) -> list[Path]:
    """The split's file by its official name; else all that could be it, by other names or in other formats."""
    official = folder / task.files[split]
    if official.is_file():
        return [official]
    names = (task.files[split], *task.other_files.get(split, ()))
    stems = [*map(stem_of, names)]
    others = dict.fromkeys((*names, *(stem + suffix for stem in stems for suffix in SUFFIXES)))
    found = [folder / name for name in others if (folder / name).is_file()]
    # Last, for a text file of such a name may be anything; and what the hub calls it.
    last = [stem + suffix for stem in stems for suffix in TEXT_SUFFIXES]
    if task.hub and split in task.hub.splits:
        of_hub = task.hub.splits[split]
        last += [of_hub + suffix for suffix in SUFFIXES] + [f"{of_hub}-00000-of-00001.parquet"]
    return found or [folder / name for name in dict.fromkeys(last) if (folder / name).is_file()]


def find_file(task: Task, data_dir: Path, split: str) -> Path:
    """The file of a split below the data directory, `<data_dir>/<task>/<file>`.

    Raises NotThere, which says what is missing and where to get it; UserError if several files could be meant.
    """
    if split not in task.files:
        cure = "models are evaluated on it, not trained; its" if split == "train" else "its"
        raise UserError(f"{task.name} has no split {split!r}; {cure} splits are {', '.join(task.files)}")
    folder = find_folder(task, data_dir)
    cure = f"get {task.name} from {task.homepage} and unpack it to {folder}"
    if not task.homepage:
        cure = f"put {' and '.join(task.files.values())} into {folder}"
    real = Path(os.path.realpath(data_dir))  # `resolve` fails where links lead round in a circle
    if _is_name_of(task, real.name) and _files(task, data_dir, split):
        # As the original code's --data_dir expects it.
        above = data_dir.parent if data_dir.name else real.parent
        raise UserError(f"{data_dir} is the folder of {task.name} itself; give the folder above it, {above}")
    for needed in (data_dir, folder):
        if needed.is_symlink() and not needed.exists():
            raise NotThere(f"{needed} is a link that leads nowhere, or back to itself; name the real folder")
        if not needed.is_dir():
            raise NotThere(f"there is no folder {needed}; {cure}, or name another with --data-dir")
    found = _files(task, folder, split)
    if not found:
        there = sorted(path.name for path in folder.iterdir() if path.is_file())
        others = f" (it holds {shown(', '.join(there))})" if there else ""
        raise NotThere(f"there is no file {folder / task.files[split]}; {cure}{others}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"{folder} has {len(found)} files that could be {split} of {task.name}: {names}; keep one of them"
        )
    if found[0].name.endswith(TEXT_SUFFIXES) and found[0].name not in (
        task.files[split],
        *task.other_files.get(split, ()),
    ):
        warn_once(f"{found[0]} is read as {split} of {task.name}, with tabs between its cells")
    return found[0]

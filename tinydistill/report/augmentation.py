"""What an augmentation made: counts from its record, and examples with the words that changed, from its file.

The file has each row of the train file followed by its variants, so that both are read side by side.
"""

import difflib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from glue_tasks.places import augmented_name
from glue_tasks.rows import Row
from glue_tasks.task import Task
from tinydistill.options import Options

_READ = 5_000  # rows of the file, of which the share of words replaced is measured
_EXAMPLES = 8
_CHARACTERS = 300  # of a text from which an example is taken


def describe_augmentation(task: Task, options: Options) -> dict[str, Any] | None:
    """Of the augmented file in the output folder, or of the run's train file if it is one; None if there is none."""
    own = Path(options.output_dir) / "augment" / augmented_name(task)
    for path in (own, Path(options.train_file)) if options.train_file else (own,):
        if path.is_file() and (record := _read(path.with_suffix(".json"))):
            break
    else:
        return None
    settings, counts = record["settings"], record["counts"]
    found = {
        "variants": settings.get("variants"),
        "probability": settings.get("probability"),
        "counts": {name: value for name, value in counts.items() if isinstance(value, int)},
    }
    source = Path(str(record.get("inputs", {}).get("train_file", {}).get("name", "")))
    if task.kind in ("tokens", "spans") or not source.is_file():
        return found
    try:
        pairs = list(_pairs(task, source, path))
    except UserError:  # the file is no longer what it was
        return found
    return found | _changes(task, pairs)


def _read(path: Path) -> dict[str, Any] | None:
    """The record beside an augmented file; other train files have none, or one of another kind."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    parts = (record.get(name) for name in ("settings", "counts")) if isinstance(record, dict) else ()
    return record if parts and all(isinstance(part, dict) for part in parts) else None


def _pairs(task: Task, source: Path, path: Path) -> Iterator[tuple[Row, Row]]:
    """Each variant beside the row it was made of, from the first rows of the file."""
    originals = iter(open_table(task, source, "train", skip_bad_rows=True))
    last, coming = None, next(originals, None)
    for row in itertools.islice(open_table(task, path, "train", skip_bad_rows=True), _READ):
        if coming is not None and row.texts == coming.texts:
            last, coming = coming, next(originals, None)
        elif last is not None:
            yield last, row


def _changes(task: Task, pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    words = replaced = 0
    examples: dict[int, dict[str, Any]] = {}  # by the line of the original, one each
    for original, variant in pairs:
        marked = [
            _marked(old, new, task.language == "zh") for old, new in zip(original.texts, variant.texts, strict=True)
        ]
        words += sum(count for _, count, _ in marked)
        replaced += sum(changed for _, _, changed in marked)
        is_short = max(map(len, variant.texts)) <= _CHARACTERS
        if len(examples) < _EXAMPLES and is_short and original.line not in examples and any(c for *_, c in marked):
            examples[original.line] = {"texts": list(original.texts), "variant": [parts for parts, *_ in marked]}
    share = {"share_replaced": replaced / words, "measured_on": len(pairs)} if words else {}
    return share | {"examples": list(examples.values())}


def _marked(old: str, new: str, by_character: bool) -> tuple[list[list[Any]], int, int]:
    """The new text as parts [text, whether it is changed], the words of the old one, and how many are replaced."""
    before, after = (list(text) if by_character else text.split(" ") for text in (old, new))
    if len(before) == len(after):
        changed = [word != other for word, other in zip(before, after, strict=True)]
        replaced = sum(changed)
    else:
        changed, replaced = [True] * len(after), len(before)
        for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
            changed[block.b : block.b + block.size] = [False] * block.size
            replaced -= block.size
    joint = "" if by_character else " "
    parts: list[list[Any]] = []
    for word, is_changed in zip(after, changed, strict=True):
        if parts and parts[-1][1] == is_changed:
            parts[-1][0] += joint + word
        else:
            if parts:
                parts[-1][0] += joint
            parts.append([word, is_changed])
    return parts, len(before), replaced

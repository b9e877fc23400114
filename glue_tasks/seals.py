"""Records of files' sizes and SHA-256, written last, by which a file that was cut, emptied or changed is noticed."""

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json

_LARGEST_RECORD = 1 << 20  # bytes
logger = logging.getLogger(__name__)


def fingerprint(path: Path) -> dict[str, Any]:
    """A file's bytes and the digest that `sha256sum` gives."""
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def seal(record: Path, *files: Path, **more: Any) -> None:
    """Write the size and digest of these files, which are beside the record, and whatever else it is to hold."""
    write_json(record, {**more, "files": {path.name: fingerprint(path) for path in files}})


def damage(record: Path) -> str:
    """Which file is not as it was when the record was written, as a sentence; "" if all are."""
    if not record.exists():
        return f"there is no {record}"
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"]
        expected = {record.with_name(name): (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{record} is damaged"
    for path, (size, digest) in expected.items():
        if not path.is_file():
            return f"there is no {path}"
        found = fingerprint(path)
        if found["bytes"] != size:
            return f"{path} is damaged: it has {found['bytes']:,} bytes, not {size:,}"
        if found["sha256"] != digest:
            return f"{path} is damaged: it is not what was written"
    return ""


def check_file(path: Path, record: Path) -> None:
    """Raises UserError if the record, of a file beside it, is there and has its name, and the file is not as it was."""
    if record == path or not record.is_file() or record.stat().st_size > _LARGEST_RECORD:
        return
    with contextlib.suppress(ValueError, AttributeError):  # a file of another kind
        if path.name in json.loads(record.read_text(encoding="utf-8")).get("files", ()) and (wrong := damage(record)):
            raise UserError(
                f"{wrong}, by the record {record}; make it anew, or remove {record} if it was changed on purpose"
            )


def is_whole(record: Path) -> bool:
    """Whether the files are there and as they were. Damaged ones, which the caller makes anew, are a warning."""
    wrong = damage(record)
    if wrong and record.exists():
        logger.warning("%s; it is made anew", wrong)
    return not wrong

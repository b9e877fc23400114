"""train_aug.json: from what, with which settings and by which versions train_aug.tsv or .jsonl was made; the counts."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks import UserError
from glue_tasks.seals import fingerprint, seal
from tinydistill.encoders.config import load_config

_PACKAGES = ("torch", "transformers", "tokenizers", "regex", "jieba", "numpy")
_RENAMED = {"several_pieces": "multi_piece_words", "cells_mended": "cells_cleaned"}  # as older records have them
_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Record:
    """What was read back of a finished run."""

    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    counts: dict[str, Any]

    def differences(self, settings: dict[str, Any], inputs: dict[str, dict[str, Any]]) -> list[str]:
        """The names of the settings and inputs that differ. An input is its content: its path may be another."""

        def content(described: dict[str, Any] | None) -> dict[str, Any]:
            return {key: value for key, value in (described or {}).items() if key != "name"}

        return [name for name, value in settings.items() if self.settings.get(name) != value] + [
            name for name, value in inputs.items() if content(self.inputs.get(name)) != content(value)
        ]


def record_path(output: Path) -> Path:
    return output.with_suffix(".json")


def describe_inputs(train_file: Path, mlm: str, files: Mapping[str, Path | None]) -> dict[str, dict[str, Any]]:
    """For each input its name as it was given, and what tells its content: bytes and SHA-256, or the hub's commit.

    files: others by what they are; None where there is none.
    """
    for flag, path in files.items():
        if path and not path.is_file():
            raise UserError(f"there is no file {path}; name another with --{flag.replace('_', '-')}")
    if Path(mlm).is_dir():
        of_model = sorted({path for pattern in _MODEL_FILES for path in Path(mlm).glob(pattern)})
        model = {"name": mlm, **_fingerprint(*of_model)}
    else:
        model = {"name": mlm, "commit": load_config(mlm)._commit_hash}  # in the cache, or the newest
    inputs = {"train_file": {"name": str(train_file), **_fingerprint(train_file)}, "mlm": model}
    return inputs | {name: {"name": str(path), **_fingerprint(path)} for name, path in files.items() if path}


def read_record(output: Path) -> Record | None:
    """None if there is none that can be read: then nobody knows how the output was made."""
    try:
        read = json.loads(record_path(output).read_text(encoding="utf-8"))
        settings, counts = (
            {_RENAMED.get(name, name): value for name, value in read[part].items()} for part in ("settings", "counts")
        )
        return Record(settings, read["inputs"], counts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(
    output: Path, settings: dict[str, Any], inputs: dict[str, Any], run: dict[str, Any], counts: dict[str, Any]
) -> None:
    """Written last and whole: that it is there says that the output is finished."""
    versions = {"python": platform.python_version()}
    versions.update((package, importlib.metadata.version(package)) for package in _PACKAGES)
    content = {"settings": settings, "inputs": inputs, "run": run, "versions": versions, "counts": counts}
    seal(record_path(output), output, **content)


def _fingerprint(*files: Path) -> dict[str, Any]:
    """Of one file the digest that `sha256sum` gives; of several, that of their digests in order of name."""
    told = [fingerprint(path) for path in files]
    digests = [each["sha256"] for each in told]
    joined = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"bytes": sum(each["bytes"] for each in told), "sha256": joined}

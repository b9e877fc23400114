"""The folder of a phase: claimed before training, so that no run writes over another, and marked when finished."""

import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from glue_tasks.errors import UserError
from tinydistill import __version__

State = Literal["new", "continue", "finished"]
_PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "numpy", "scikit-learn")


class PhaseFolder:
    """`<output-dir>/<phase>`: the model, `run.json` (settings, versions, losses) and, while it runs, `checkpoints/`."""

    def __init__(self, output_dir: Path, phase: str):
        self.path = output_dir / phase
        self.checkpoints = self.path / "checkpoints"
        self._record = self.path / "run.json"

    def read(self) -> dict[str, Any] | None:
        """What `run.json` holds, or None if the phase never began here."""
        try:
            return json.loads(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def is_finished(self) -> bool:
        record = self.read()
        return record is not None and record["state"] == "finished"

    def look(self, settings: dict[str, Any], resume: bool, overwrite: bool) -> State:
        """Say whether these settings start anew, go on, or are finished here already; changes nothing.

        Raises UserError if the folder holds another run, or an unfinished one and `resume` was not asked for.
        """
        record = self.read()
        if record is None and self.path.exists() and any(self.path.iterdir()):
            raise UserError(f"the folder {self.path} holds something else; choose another --output-dir")
        if record is None or overwrite:
            return "new"
        # Compared as they are saved: JSON has no tuples.
        given, saved = json.loads(json.dumps(settings)), record["settings"]
        if given != saved:
            names = [name for name in sorted(given.keys() | saved.keys()) if given.get(name) != saved.get(name)]
            details = ", ".join(f"{name} was {saved.get(name)!r} and is now {given.get(name)!r}" for name in names[:3])
            raise UserError(
                f"{self.path} holds a run with other settings ({details}); choose another --output-dir, "
                "or --overwrite it"
            )
        if record["state"] == "finished":
            return "finished"
        if not resume:
            raise UserError(
                f"{self.path} holds an unfinished run with the same settings; continue it with --resume, "
                "or start anew with --overwrite"
            )
        return "continue"

    def begin(self, settings: dict[str, Any]) -> None:
        """Start anew: what was in the folder goes, and the settings are noted."""
        if self.path.exists():
            shutil.rmtree(self.path)
        write_json(self._record, {"state": "running", "settings": settings, "versions": versions()})

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written to its end; those cut off by a kill are removed.

        The Trainer writes `trainer_state.json` last, so a checkpoint in which it can be read is whole.
        """
        steps = {int(path.name.rpartition("-")[2]): path for path in self.checkpoints.glob("checkpoint-*")}
        for _, path in sorted(steps.items(), reverse=True):
            try:
                json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
                return path
            except (FileNotFoundError, json.JSONDecodeError):
                shutil.rmtree(path)
        return None

    def finish(self, record: dict[str, Any]) -> None:
        """Mark the run as finished, with what it measured; its checkpoints have served."""
        write_json(self._record, {**(self.read() or {}), **record, "state": "finished"})
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of Python, the packages and TinyDistill, and the commit of a checkout."""
    found = {"python": platform.python_version(), "tinydistill": __version__}
    found |= {name: version(name) for name in _PACKAGES}
    here = Path(__file__).resolve().parent
    if (here.parent / ".git").exists():
        command = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
        if result.returncode == 0:
            found["commit"] = result.stdout.strip()
    return found

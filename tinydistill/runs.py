"""The folder of a phase: claimed before training, so that no run writes over another, and marked when finished."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tinydistill import __version__

try:
    import fcntl
except ImportError:  # Windows has none, and runs there are not kept apart
    fcntl = None  # type: ignore[assignment]

State = Literal["new", "continue", "finished"]
_PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "numpy", "scikit-learn")


class PhaseFolder:
    """`<output-dir>/<phase>`: the model, `run.json` (settings, versions, losses) and, while it runs, `checkpoints/`."""

    def __init__(self, output_dir: Path, phase: str):
        self.path = output_dir / phase
        self.checkpoints = self.path / "checkpoints"
        self._record = self.path / "run.json"
        self._lock: IO[str] | None = None

    def read(self) -> dict[str, Any] | None:
        """What `run.json` holds, or None if the phase never began here. Raises UserError if it cannot be read."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            if isinstance(record, dict) and "state" in record:
                return record
        except FileNotFoundError:
            return None
        except ValueError:  # no JSON
            pass
        raise UserError(f"{self._record} is no record of a run; remove it, or choose another folder")

    @property
    def is_finished(self) -> bool:
        record = self.read()
        return record is not None and record["state"] == "finished"

    def look(self, settings: dict[str, Any], resume: bool, overwrite: bool) -> State:
        """Say whether these settings start anew, go on, or are finished here already.

        A run that was stopped before its first checkpoint has nothing to lose: it starts anew, with any settings.
        Raises UserError if the folder holds another run, an unfinished one and `resume` was not asked for, or if
        another process is at work there.
        """
        if self.path.exists():
            self.take_lock()
        record = self.read()
        if record is None and self.path.exists() and any(self.path.iterdir()):
            raise UserError(f"the folder {self.path} holds something else; choose another --output-dir")
        if record is None or overwrite or (record["state"] == "running" and self.last_checkpoint() is None):
            return "new"
        # Compared as they are saved: JSON has no tuples.
        given, saved = json.loads(json.dumps(settings)), record["settings"]
        if _differing(given, saved):
            names = _differing(given, saved)
            details = ", ".join(
                f"other {name.replace('_', ' ')}"
                if name.endswith("_weights")
                else f"{name} was {saved.get(name)!r} and is now {given.get(name)!r}"
                for name in names[:3]
            )
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

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While this runs, a lock that was taken is kept; then it is let go."""
        try:
            yield
        finally:
            if self._lock:
                self._lock.close()
                self._lock = None

    def take_lock(self) -> None:
        """Keep other processes from the folder. Raises UserError if one is at work there."""
        if self._lock or not fcntl:
            return
        path = self.path.parent / "cache" / f"{self.path.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by `held`
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it if we are killed
        except BlockingIOError:
            lock.close()
            raise UserError(
                f"another process is at work in {self.path}; wait for it, or choose another --output-dir"
            ) from None
        self._lock = lock

    def check_inputs(self, **models: str) -> None:
        """Raises UserError if one of the models lies in this folder, which beginning anew would delete."""
        for who, name in models.items():
            if name and self.path.resolve() in (Path(name).resolve(), *Path(name).resolve().parents):
                raise UserError(
                    f"the {who} {name} lies in the folder that this phase writes; choose another --output-dir"
                )

    def begin(self, settings: dict[str, Any]) -> None:
        """Start anew: what was in the folder goes, and the settings are noted."""
        self.take_lock()
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


# Told and not compared: what they name is compared by its content, and a path may be written in two ways.
_NAMES = frozenset({"teacher", "student", "pretrained", "train_file", "task_file"})


def _differing(given: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    """What differs, digests last: another seed or shape makes other weights, and says more."""
    names = sorted((given.keys() | saved.keys()) - _NAMES, key=lambda name: (name.endswith("_weights"), name))
    return [name for name in names if given.get(name) != saved.get(name)]


def versions() -> dict[str, str]:
    """Versions of Python, the packages and TinyDistill, and the commit of a checkout."""
    found = {"python": platform.python_version(), "tinydistill": __version__}
    found |= {name: version(name) for name in _PACKAGES}
    here = Path(__file__).resolve().parent
    if (here.parent / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
        if result.returncode == 0:
            found["commit"] = result.stdout.strip()
    return found

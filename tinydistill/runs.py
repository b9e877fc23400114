"""The folder of a phase: claimed before training, so that no run writes over another, and marked when finished."""

import contextlib
import dataclasses
import functools
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

from glue_tasks.command_line import COMMAND
from glue_tasks.errors import UserError
from glue_tasks.seals import damage, fingerprint, seal
from glue_tasks.writers import write_json
from tinydistill import __version__
from tinydistill.options import Options, compared

try:
    import fcntl
except ImportError:  # Windows has none, and runs there are not kept apart
    fcntl = None  # type: ignore[assignment]

State = Literal["new", "continue", "finished"]
RECORD = "run.json"
_PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "numpy", "scikit-learn")


class PhaseFolder:
    """`<output-dir>/<phase>`: the model, `run.json` (settings, versions, losses) and, while it runs, `checkpoints/`."""

    def __init__(self, output_dir: Path, phase: str):
        self.path = output_dir / phase
        self.checkpoints = self.path / "checkpoints"
        self._record = self.path / RECORD
        self._lock: IO[str] | None = None
        self._damage: dict[int, str] = {}  # of each checkpoint that was looked at

    def read(self) -> dict[str, Any] | None:
        """What `run.json` holds, or None if the phase never began here. Raises UserError if it cannot be read."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            if isinstance(record, dict) and "state" in record and isinstance(record.get("settings"), dict):
                return record
        except FileNotFoundError:
            return None
        except ValueError:  # no JSON
            pass
        raise UserError(
            f"{self._record} is no record of a run, or is damaged; remove it, or start the run over with --overwrite"
        )

    @property
    def is_finished(self) -> bool:
        record = self.read()
        return record is not None and record["state"] == "finished"

    def compare(self, settings: dict[str, Any], resume: bool, overwrite: bool) -> State:
        """Say whether a run of these settings starts over, continues, or is finished here already.

        A run that was stopped before its first checkpoint has nothing to lose: it starts over, with any settings.
        Raises UserError if the folder holds another run, an unfinished one and `resume` was not asked for, or if
        another process is at work there.
        """
        self.take_lock()  # of two processes that see no run here, one begins it
        is_ours = self._record.exists() or not self.path.exists()
        if not is_ours and any(path.suffix != ".partial" for path in self.path.iterdir()):
            raise UserError(f"the folder {self.path} holds something else; choose another --output-dir")
        if overwrite:  # also a run whose record is damaged
            return "new"
        record = self.read()
        if record is None or record["state"] == "cleared":
            return "new"
        if record["state"] == "running" and self.last_checkpoint() is None:
            for told in self._damage.values():
                print(f"note: {told}; with no whole checkpoint the run starts over")
            return "new"
        if names := _differing(settings, record):
            raise UserError(
                f"{self.path} holds a run with other settings ({', '.join(names[:3])}); choose another --output-dir, "
                "or --overwrite it"
            )
        if record["state"] == "finished":
            shutil.rmtree(self.checkpoints, ignore_errors=True)  # a kill may have left some
            return "finished"
        if not resume:
            raise UserError(
                f"{self.path} holds an unfinished run with the same settings; continue it with --resume, "
                "or start over with --overwrite"
            )
        return "continue"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a lock that is taken inside until the end."""
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
        lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by `locked`
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it if we are killed
        except BlockingIOError:
            lock.close()
            raise UserError(
                f"another process is at work in {self.path}; wait for it, or choose another --output-dir"
            ) from None
        self._lock = lock

    def check_inputs(self, *models: str) -> None:
        """Raises UserError if one of the models lies in this folder, which starting over would delete."""
        for name in models:
            if name and self.path.resolve() in (Path(name).resolve(), *Path(name).resolve().parents):
                raise UserError(
                    f"the model {name} lies in the folder that this phase writes; choose another --output-dir"
                )

    def begin(self, settings: dict[str, Any]) -> None:
        """Start over: what was in the folder goes, and the settings are noted."""
        self.take_lock()
        if self.path.exists():  # killed amid the removal, it is known for a folder of ours
            write_json(self._record, {"state": "cleared", "settings": {}})
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path != self._record:
                    path.unlink()
        record = {"state": "running", "settings": settings, "command": COMMAND.get(), "versions": versions()}
        write_json(self._record, {name: value for name, value in record.items() if value != ""})

    def seal_checkpoint(self, step: int) -> None:
        """Note what tells a checkpoint's files, and remove those that no longer serve: the last two are kept, and the
        best ones up to each. Raises UserError if the folder was deleted."""
        if not self._record.exists():
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            with contextlib.suppress(OSError):  # it holds files of somebody else
                self.path.rmdir()
            raise UserError(f"{self.path} was deleted while the run was at work; start it again")
        folder = self._checkpoint(step)
        seal(folder / _SEAL, *(path for path in sorted(folder.iterdir()) if path.name != _SEAL))
        kept = self._steps()[:2]
        kept += [_best_step(self._checkpoint(step)) or 0 for step in kept]
        for other in self._steps():
            if other not in kept:
                shutil.rmtree(self._checkpoint(other))

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint whose files are as they were written, and those of the best one up to it too."""
        for step in self._steps():
            if not self._damage_of(step) and not self._damage_of(_best_step(self._checkpoint(step)) or step):
                return self._checkpoint(step)
        return None

    def go_back_to(self, checkpoint: Path) -> None:
        """Remove the checkpoints after it, which are not whole, and say why they are not used."""
        last = int(checkpoint.name.rpartition("-")[2])
        for step in self._steps():
            if step > last:
                why = (
                    self._damage.get(step)
                    or f"that of step {_best_step(self._checkpoint(step))}, its best, is not whole"
                )
                print(f"note: the checkpoint of step {step} is not used ({why}); the run goes on from step {last}")
                shutil.rmtree(self._checkpoint(step))

    def _steps(self) -> list[int]:
        """Of the checkpoints there are, the newest first."""
        return sorted(
            (int(path.name.rpartition("-")[2]) for path in self.checkpoints.glob("checkpoint-*")), reverse=True
        )

    def _checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"checkpoint-{step}"

    def _damage_of(self, step: int) -> str:
        if step not in self._damage:
            self._damage[step] = damage(self._checkpoint(step) / _SEAL)
        return self._damage[step]

    def finish(self, record: dict[str, Any]) -> None:
        """Mark the run as finished, with what it measured; its checkpoints have served."""
        paths = [*self.path.glob("*.safetensors"), *self.path.glob("*/*.safetensors")]  # of several tasks a folder each
        files = {str(path.relative_to(self.path).as_posix()): fingerprint(path) for path in sorted(paths)}
        write_json(self._record, {**(self.read() or {}), **record, "files": files, "state": "finished"})
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def _best_step(checkpoint: Path) -> int | None:
    """The step of the best checkpoint up to this one, if the phase looks for one."""
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["best_global_step"]
    except (OSError, ValueError, KeyError):  # it is not whole
        return None


_SEAL = "files.json"  # in each checkpoint, written last


def _differing(given: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """What differs, in words; digests last: another seed or shape makes other weights, and says more."""
    given = json.loads(json.dumps(given))  # as they are saved: JSON has no tuples
    saved = record["settings"]
    finished = record["state"] == "finished"
    given, saved = compared(given, finished), compared(saved, finished)
    # An option that was not there yet when the run began had what is its default now.
    before = {field.name: field.default for field in dataclasses.fields(Options)} | saved
    names = sorted(given.keys() | saved.keys(), key=lambda name: (_is_digest(name), name))
    return [
        f"other {name.replace('_', ' ')}"
        if _is_digest(name)
        else f"{name} was {before.get(name)!r} and is now {given.get(name)!r}"
        for name in names
        if given.get(name) != before.get(name)
    ]


def _is_digest(name: str) -> bool:
    return name.endswith(("_weights", "_data", "_from_record"))


def versions() -> dict[str, str]:
    """Versions of Python, the packages and TinyDistill, and the commit of a checkout."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "tinydistill": __version__}
    found |= {name: version(name) for name in _PACKAGES}
    here = Path(__file__).resolve().parent
    if (here.parent / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
        if result.returncode == 0:
            found["commit"] = result.stdout.strip()
    return found

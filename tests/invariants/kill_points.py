"""Kills a command at its file operations, one in each run, resumes it, and compares what is left with a whole run.

    python -m tests.invariants.kill_points FOLDER EVERY FIRST -- ARGUMENTS OF run_tinybert.py

`FOLDER` is new; each run has a folder of its own below it. Of the file operations in the output folder (a file opened
to be written, renamed or removed, a folder made or removed) every `EVERY`th is a kill, from the `FIRST` on. Prints a
line a kill; exit code 1 if one left something else than the run that was not killed.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers.models.bert.modeling_bert  # noqa: F401 - imported once, before there are children

import run_tinybert
import tinydistill.latency
import tinydistill.phases
import tinydistill.report.measure

tinydistill.latency.SECONDS = 0.02  # nobody looks at the times

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
_OF_A_RUN = ("seconds", "resumed", "command", "runtime", "per_second")  # what may differ between a run and another


def child(action: Callable[[], Any]) -> int:
    """Run it in a process of its own, which has the imports already; the exit code, or less than 0 for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with open(os.devnull, "w") as silent:
            os.dup2(silent.fileno(), 1)
            os.dup2(silent.fileno(), 2)
        try:
            action()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(number: int, out: Path, count: Path | None = None) -> None:
    """From now on count this process's file operations below `out`; at that of the number, be killed."""
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in _CHANGES) or not isinstance(args[0], str | os.PathLike):
            return
        if not str(args[0]).startswith(str(out)):
            return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if count:
            descriptor = os.open(count, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
            os.write(descriptor, f"{seen}".encode())
            os.close(descriptor)

    sys.addaudithook(hook)


def left(out: Path) -> dict[str, Any]:
    """All files of the phases, of `run.json` what does not tell the time; and half-written files in the cache."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if path.name == "run.json":
            found[name] = without_times(json.loads(path.read_text(encoding="utf-8")), out)
        elif not name.startswith("cache/") or path.suffix not in (".lock", ".json", ".arrow"):
            found[name] = path.read_bytes() if "report" not in name else b""
    return found


def without_times(content: Any, out: Path) -> Any:
    if isinstance(content, dict):
        return {
            key: without_times(value, out)
            for key, value in content.items()
            if not any(own in key for own in _OF_A_RUN) and key != "train_loss"
        }
    if isinstance(content, list):
        return [without_times(each, out) for each in content]
    return content.replace(str(out), "") if isinstance(content, str) else content


def main(folder: Path, every: int, first: int, command: list[str]) -> int:
    folder.mkdir(parents=True)

    def run(out: Path, *args: str) -> None:
        run_tinybert.main([*command, "--output-dir", str(out), *args])

    whole, count = folder / "whole", folder / "operations"

    def counted() -> None:
        killed_at(0, whole, count)
        run(whole)

    assert child(counted) == 0
    operations, expected, wrong = int(count.read_text()), left(whole), 0
    print(f"{operations} file operations", flush=True)
    for number in range(first, operations + 1, every):
        out = folder / f"cut-{number}"

        def killed(number: int = number, out: Path = out) -> None:
            killed_at(number, out)
            run(out)

        code = child(killed)
        again = child(lambda out=out: run(out, "--resume"))  # type: ignore[misc]
        with contextlib.suppress(FileNotFoundError):
            found = left(out)
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        good = code == -signal.SIGKILL and again == 0 and not differing
        wrong += not good
        print(f"killed at {number}: {'equal' if good else f'{code}, then {again}; other {differing}'}", flush=True)
        if good:
            shutil.rmtree(out)
    return int(bool(wrong))


if __name__ == "__main__":
    given, arguments = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    sys.exit(main(Path(given[0]).resolve(), int(given[1]), int(given[2]), arguments))

"""The command line on the tiny task, in seconds."""

import json
from pathlib import Path
from typing import Any

import pytest

import run_tinybert

NARROW = "shape:layers=2,hidden=16,heads=2,ffn=24"
QUICK = ["--batch-size", "16", "--logging-steps", "2", "--max-length", "16", "--precision", "float32"]


def run(phase: str, data: Path, out: Path | None, *args: str) -> None:
    where = ["--output-dir", str(out)] if out else []
    run_tinybert.main(["--phase", phase, "--task", "SST-2", "--data-dir", str(data), *where, *QUICK, *args])


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def both_phases(epochs: str, rate: str) -> list[str]:
    phases = ("intermediate", "prediction")
    return [x for p in phases for x in (f"--{p}-epochs", epochs, f"--{p}-lr", rate)]


def refused(capsys: pytest.CaptureFixture, *args: Any) -> str:
    """The sentence on standard error."""
    with pytest.raises(SystemExit) as stop:
        run(*args)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error

"""A run that was interrupted and resumed leaves what one that was not leaves, to the last bit."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tinydistill.runs import NARROW, record
from tests.tinydistill.test_interrupted import Stop

from .conftest import ROOT, Command, Result, torchrun


def phase_alone(phase: str) -> list[str]:
    """105 rows are 14 steps an epoch; with dropout, so that the random state must come back too."""
    return ["--phase", phase, "--student", NARROW, "--epochs", "2", "--learning-rate", "1e-3", "--eval-steps", "4"]


@pytest.mark.parametrize("phase", ["intermediate", "prediction"])
@pytest.mark.parametrize("at", [2, 11, 14])  # before any checkpoint, in the middle of an epoch, at the end of one
def test_by_ctrl_c(
    command: Command, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, at: int
) -> None:
    args = phase_alone(phase)
    command(tmp_path / "whole", *args)
    monkeypatch.setattr(Stop, "at", at)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            command(tmp_path / "cut", *args)
        assert stop.value.code == 130
    if at > 4:
        with pytest.raises(SystemExit) as refused:
            command(tmp_path / "cut", *args)
        assert refused.value.code == 2
    command(tmp_path / "cut", *args, *(["--resume"] if at > 2 else []))
    whole, cut = (Result.read(tmp_path / name, data_dir, [phase]) for name in ("whole", "cut"))
    cut.equals(whole)
    assert record(tmp_path / "whole" / phase)["dev"] == record(tmp_path / "cut" / phase)["dev"]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_by_a_kill(command: Command, data_dir: Path, tmp_path: Path, processes: int) -> None:
    args = [*phase_alone("prediction"), "--epochs", "4"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    silent: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launcher = torchrun(processes)
    process = subprocess.Popen([*launcher, *command.of(cut, *args)], **silent)
    while not list(cut.rglob("files.json")):  # which is written last
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if processes == 1 else signal.SIGTERM)  # which torchrun passes on
    process.wait()
    assert record(cut / "prediction")["state"] == "running"
    if processes == 1:
        command(cut, *args, "--resume")
        command(whole, *args)
    else:
        subprocess.run([*launcher, *command.of(cut, *args, "--resume")], check=True, **silent)
        subprocess.run([*launcher, *command.of(whole, *args)], check=True, **silent)
    assert record(cut / "prediction")["resumed"]
    Result.read(cut, data_dir, ["prediction"]).equals(Result.read(whole, data_dir, ["prediction"]))

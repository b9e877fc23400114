"""A run that was interrupted and resumed leaves what one that was not leaves, to the last bit."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.tinydistill.runs import NARROW, record
from tests.tinydistill.test_interrupted import Stop

from .conftest import ROOT, Command, Result

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "run_tinybert.py"]


def phase_alone(phase: str) -> list[str]:
    """105 rows are 14 steps an epoch; with dropout, so that the random state must come back too."""
    return ["--phase", phase, "--student", NARROW, "--epochs", "2", "--learning-rate", "1e-3", "--eval-steps", "4"]


@pytest.fixture(scope="module", params=["intermediate", "prediction"])
def phase(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(command: Command, data_dir: Path, phase: str, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("whole")
    command(out, *phase_alone(phase))
    return Result.read(out, data_dir, [phase])


@pytest.mark.parametrize("at", [2, 11, 14])  # before any checkpoint, in the middle of an epoch, at the end of one
def test_by_ctrl_c(
    command: Command,
    data_dir: Path,
    whole: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    at: int,
) -> None:
    args = phase_alone(phase)
    monkeypatch.setattr(Stop, "at", at)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            command(tmp_path, *args)
        assert stop.value.code == 130
    if at > 4:
        with pytest.raises(SystemExit) as refused:
            command(tmp_path, *args)
        assert refused.value.code == 2
    command(tmp_path, *args, *(["--resume"] if at > 2 else []))
    Result.read(tmp_path, data_dir, [phase]).equals(whole)
    assert record(whole.folder / phase)["dev"] == record(tmp_path / phase)["dev"]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_by_a_kill(command: Command, data_dir: Path, tmp_path: Path, processes: int) -> None:
    """Of two processes torchrun is told to stop, which passes that on."""
    args = [*phase_alone("prediction"), "--epochs", "4"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    silent: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = command.of(cut, *args)
    process: Any = (
        forked.start(["run_tinybert.py", *first]) if processes == 1 else subprocess.Popen(TORCHRUN + first, **silent)
    )
    while not list(cut.rglob("files.json")):  # which is written last
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if processes == 1 else signal.SIGTERM)
    process.wait()
    assert record(cut / "prediction")["state"] == "running"
    for out, given in ((cut, [*args, "--resume"]), (whole, args)):
        if processes == 1:
            command(out, *given)
        else:
            done = forked.run_together(processes, ["run_tinybert.py", *command.of(out, *given)])
            assert {process.returncode for process in done} == {0}, done[0].stderr
    assert record(cut / "prediction")["resumed"]
    Result.read(cut, data_dir, ["prediction"]).equals(Result.read(whole, data_dir, ["prediction"]))

"""A run that is stopped, killed or out of disk goes on with --resume, and ends as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.tinydistill.runs import NARROW, QUICK, record, refused, run
from tinydistill.progress import Progress

ROOT = Path(__file__).resolve().parents[2]


class Stop(Progress):
    """Ctrl-C after a number of steps."""

    at = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("phase", ["intermediate", "prediction"])
@pytest.mark.parametrize("at", [2, 11, 14])  # before any checkpoint, in the middle of an epoch, at the end of one
def test_an_interrupted_run_resumes_to_the_same_student(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, at: int
) -> None:
    """108 rows are 7 steps an epoch; with dropout, so that the random state must come back too."""
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--epochs", "3", "--eval-steps", "4"]
    run(phase, data_dir, tmp_path / "whole", *args)
    monkeypatch.setattr(Stop, "at", at)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            run(phase, data_dir, tmp_path / "cut", *args)
        assert stop.value.code == 130
    if at > 4:
        with pytest.raises(SystemExit) as refused:
            run(phase, data_dir, tmp_path / "cut", *args)
        assert refused.value.code == 2
    run(phase, data_dir, tmp_path / "cut", *args, *(["--resume"] if at > 2 else []))
    whole, cut = (load_file(tmp_path / name / phase / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert record(tmp_path / "whole" / phase)["dev"] == record(tmp_path / "cut" / phase)["dev"]


def test_a_killed_run_resumes(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--epochs", "12", "--eval-steps", "5"]
    command = ["--phase", "prediction", "--task", "SST-2", "--data-dir", str(data_dir), *QUICK, *args]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "run_tinybert.py", *command, "--output-dir", str(cut)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(cut.rglob("trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert record(cut / "prediction")["state"] == "running"
    run("prediction", data_dir, cut, *args, "--resume")
    run("prediction", data_dir, whole, *args)
    assert record(cut / "prediction")["resumed"]
    one, other = (load_file(out / "prediction" / "model.safetensors") for out in (whole, cut))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_full_disk_loses_nothing(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """Files of 40,000 bytes at most: the student fits, the optimiser's state beside it does not."""
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "4", "--eval-steps", "2"]
    command = ["--phase", "prediction", "--task", "SST-2", "--data-dir", str(data_dir), *QUICK, *args]
    limited = "import resource, sys, run_tinybert; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    done = subprocess.run(
        [sys.executable, "-c", f"{limited}run_tinybert.main(sys.argv[1:])", *command, "--output-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: the disk is full" in done.stderr.splitlines()[-1]
    assert "--resume" in done.stderr.splitlines()[-1]
    run("prediction", data_dir, tmp_path, *args, "--resume")
    assert record(tmp_path / "prediction")["steps"] == 4


def test_prediction_does_not_pass_over_an_unfinished_intermediate_phase(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "20"]
    monkeypatch.setattr(Stop, "at", 9)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            run("intermediate", data_dir, tmp_path, *args)
    capsys.readouterr()
    assert "holds an unfinished intermediate phase" in refused(capsys, "prediction", data_dir, tmp_path, *args)

"""A run that was out of disk goes on with --resume, and an unfinished phase is not passed over.

What an interrupted run leaves in the end: tests/invariants/test_interrupted.py.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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

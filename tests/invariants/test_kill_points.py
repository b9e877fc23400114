"""A kill at any file operation of a command leaves a run that --resume continues to the same result.

Here a few of the operations, in both phases and in a teacher's; the command in `kill_points` goes through all of them.
"""

from pathlib import Path

import pytest

from tests import forked
from tests.tinydistill.runs import NARROW, QUICK

PHASES = {
    "teacher": (["--epochs", "2", "--learning-rate", "5e-3"], 17, 6),
    "all": (["--student", NARROW, "--max-steps", "7", "--allow-weak-teacher"], 23, 11),
}


@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_file_operations(
    data_dir: Path, teacher_dir: Path, masked_lm_dir: Path, tmp_path: Path, phase: str
) -> None:
    args, every, first = PHASES[phase]
    start = ["--pretrained", str(masked_lm_dir)] if phase == "teacher" else ["--teacher", str(teacher_dir)]
    command = ["--phase", phase, "--task", "SST-2", "--data-dir", str(data_dir), *start, *QUICK, *args]
    kills = ["-m", "tests.invariants.kill_points", tmp_path / "runs", every, first]
    done = forked.run([*kills, "--", *command, "--eval-steps", "3"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": equal") >= 4

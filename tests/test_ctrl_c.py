"""Ctrl-C while a command's imports run, which takes seconds: one line and exit code 130."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
AGAIN = "stopped; to go on, run the same command again"
COMMANDS = {
    "run_tinybert.py --phase evaluate --task SST-2 --data-dir data --teacher m": f"{AGAIN[:-5]}with --resume",
    "-m augment --task SST-2 --data-dir data --mlm m": f"{AGAIN[:-5]}with --resume",
    "-m augment merge --task SST-2 --data-dir data": f"{AGAIN[:-5]}with --resume",
    "-m tinydistill predict --task SST-2 --data-dir data --model m": AGAIN,
    "-m demo --output-dir out": AGAIN,
}


@pytest.mark.parametrize("module", ["torch", "numpy"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stop_while_a_command_is_imported(command: str, module: str, tmp_path: Path) -> None:
    """In the place of the first slow modules stand ones in which Ctrl-C is pressed."""
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
    (tmp_path / "data" / "SST-2").mkdir(parents=True)
    (tmp_path / "data" / "SST-2" / "train.tsv").write_text("sentence\tlabel\ngood\t1\n")
    done = subprocess.run(
        [sys.executable, *command.replace("run_tinybert.py", str(ROOT / "run_tinybert.py")).split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.strip() == COMMANDS[command]

"""With every faster way on the CPU turned off, the invariants hold and the result is the same."""

import os
from pathlib import Path

import pytest

from tests import forked
from tinydistill.encoders.cpu.choice import PLAIN

from .conftest import Command, Result

FILES = [f"tests/invariants/test_{name}.py" for name in ("invariants", "arithmetic_of_the_losses", "interrupted")]
SOME = "(same_student or step_from_given_weights or (ctrl_c and 11-)) and not slow"  # each kind; all take minutes


def test_the_same_student(
    command: Command, plain: Result, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLAIN, "1")
    command(tmp_path)
    Result.read(tmp_path, data_dir).agrees_with(plain)


@pytest.mark.skipif(os.environ.get(PLAIN, "0") != "0", reason="is run with them off already")
def test_the_invariants_hold() -> None:
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-k", SOME, *FILES]
    done = forked.run(command, env={**os.environ, PLAIN: "1"})
    assert done.returncode == 0, done.stdout + done.stderr

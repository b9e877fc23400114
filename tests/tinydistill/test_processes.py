"""Processes that work together, started without a launcher: nobody ends them but they themselves."""

from pathlib import Path

import pytest

from tests import forked

WORK = """
import sys, torch
from glue_tasks.errors import UserError, exit_on_user_error
from tinydistill import processes

def fail(*ranks):
    if processes.index() in ranks:
        raise UserError("there is no such file; name another")

with exit_on_user_error(), processes.together():
    rank = processes.index()
"""


def start(*command: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each of two processes of a Python command."""
    return [(each.returncode, each.stdout, each.stderr) for each in forked.run_together(2, command)]


def test_what_they_share(tmp_path: Path) -> None:
    file = tmp_path / "made"
    work = f"""
    from pathlib import Path
    file = Path({str(file)!r})
    def make():
        there = file.exists()
        file.touch()
        return there
    print(processes.count(), processes.from_first(lambda: {{"rank": rank}}), processes.after_first(make),
          processes.total(torch.tensor([1.0, rank])).tolist())
"""
    expected = [f"2 {{'rank': 0}} {there} [2.0, 1.0]\n" for there in (False, True)]
    assert [(code, out) for code, out, _ in start("-c", WORK + work)] == [(0, text) for text in expected]


def test_machines_without_a_shared_disk(tmp_path: Path) -> None:
    (tmp_path / "made").touch()
    work = f"""
    import os
    from pathlib import Path
    processes._UNTIL_IT_IS_SEEN = 0
    os.chdir({str(tmp_path)!r} if rank == 0 else "/")
    processes.check_shared(Path("made"))
"""
    ended = start("-c", WORK + work)
    assert [code for code, _, _ in ended] == [2, 2]
    assert "made, which the first process wrote, cannot be seen by process 1; several machines need" in ended[1][2]


@pytest.mark.parametrize(
    "work",
    [
        "    fail(1)\n    processes.wait()\n",
        "    fail(0, 1)\n    processes.wait()\n",
        "    processes.from_first(lambda: fail(0))\n",
    ],
)
def test_a_mistake_ends_all_with_one_sentence(work: str) -> None:
    ended = start("-c", WORK + work)
    assert [code for code, _, _ in ended] == [2, 2]
    errors = [line for _, _, text in ended for line in text.splitlines() if line.startswith(("error", "Traceback"))]
    assert errors == ["error: there is no such file; name another"]


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (["--phase", "evaluate", "--teacher", "/nowhere/at/all"], "error: there is no model folder /nowhere/at/all"),
        (["--phase", "evaluate", "--epochs", "3"], "error: --epochs is for a single phase"),
    ],
)
def test_a_mistake_in_the_command_is_told_once(args: list[str], first: str, tmp_path: Path) -> None:
    ended = start("run_tinybert.py", "--task", "SST-2", "--data-dir", str(tmp_path), *args)
    assert [code for code, _, _ in ended] == [2, 2]
    (line,) = "".join(errors for _, _, errors in ended).splitlines()
    assert line.startswith(first)

"""Several commands at a time, each a process of its own on one thread."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import run_tinybert
from demo.commands import Command, failure

_AT_MOST = 4  # each takes about 600 MB
_SECONDS_BETWEEN_LOOKS = 0.1


def run_side_by_side(commands: Sequence[Command], logs: Path) -> None:
    """Run each command that has not made its file yet, as many at a time as torch has threads here.

    Models as small as the demo's gain nothing from a second thread. What a command prints goes to a file in `logs`.
    Raises UserError with the last lines of the first that fails; the others are stopped.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = []
    for command in commands:
        if command.is_done:
            print(f"\n$ {command}\ndone already: {command.makes}")
        else:
            waiting.append(command)
    at_once = min(_AT_MOST, torch.get_num_threads())
    if waiting:
        print(f"   {len(waiting)} commands, {at_once} at a time; what they print goes to {logs}", flush=True)
    running: dict[subprocess.Popen, tuple[Command, Path, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                command = waiting.pop(0)
                log = logs / f"{command.makes.parent.name}.log"
                print(f"\n$ {command}", flush=True)
                running[_start(command, log)] = (command, log, time.perf_counter())
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for process in [each for each in running if each.poll() is not None]:
                command, log, started = running.pop(process)
                if process.returncode:
                    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
                    raise failure(command, process.returncode, f"{log} ends with\n{tail}\n")
                print(f"\n{command.makes.parent.name} is done: {time.perf_counter() - started:.0f} s", flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _start(command: Command, log: Path) -> subprocess.Popen:
    assert command.program == "run_tinybert.py"
    program = [run_tinybert.__file__]  # of the repository, or of an installed wheel
    with open(log, "w", encoding="utf-8") as file:
        return subprocess.Popen(
            [sys.executable, *program, *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

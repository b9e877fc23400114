"""Python commands in processes of their own, each forked from one that has torch and transformers imported already.

Those imports take a new process four to six seconds of a core. What a process is otherwise is the same: its command,
folder, environment, output, signals, memory and exit code are its own, and nothing has run in it before; the latencies
of a report, which nobody looks at, are measured for a moment alone. A test of the imports themselves, or of what a
process does before them, starts one by `subprocess`.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = ("transformers.models.bert.modeling_bert", "tinydistill.report", "tinydistill.run", "augment.pipeline")


class Forked:
    """A process that was started; after its end `returncode`, `stdout` and `stderr` are set."""

    def __init__(self, connection: socket.socket, pid: int, outputs: Sequence["_Pipe"]):
        self.pid, self.returncode = pid, None
        self.stdout = self.stderr = ""
        self._connection, self._outputs = connection, outputs

    def poll(self) -> int | None:
        """The exit code, or less than 0 for a signal; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = 300) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._connection.recv(16, socket.MSG_WAITALL))
            self._connection.close()
            for pipe in self._outputs:
                pipe.join(timeout)
            self.stdout, self.stderr = [pipe.text for pipe in self._outputs] or ["", ""]
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Pipe(threading.Thread):
    """What comes out of a process. No file, which a limit on the size of files would end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._out, self.end = os.pipe()
        self.start()

    def run(self) -> None:
        with open(self._out, encoding="utf-8", errors="replace") as file:
            self.text = file.read()


def start(
    arguments: Sequence[object], cwd: Path = ROOT, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Forked:
    """As subprocess.Popen of `python ARGUMENTS`: `-c CODE`, `-m MODULE` or a script, and what it is given.

    log: a file for both of its outputs.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    pipes = [] if log else [_Pipe(), _Pipe()]
    ends = [os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)] * 2 if log else [pipe.end for pipe in pipes]
    asked = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
    data = json.dumps(asked).encode()
    socket.send_fds(connection, [len(data).to_bytes(8)], ends)
    connection.sendall(data)
    for end in set(ends):
        os.close(end)
    return Forked(connection, int(connection.recv(16, socket.MSG_WAITALL)), pipes)


def run(arguments: Sequence[object], cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Forked:
    """Started, and waited for."""
    process = start(arguments, cwd, env)
    process.wait()
    return process


def run_together(count: int, arguments: Sequence[object]) -> list[Forked]:
    """Processes of one run, as torchrun starts them on a machine; waited for."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    each = [os.environ | where | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    started = [start(arguments, env=env) for env in each]
    for process in started:
        process.wait(100)
    return started


@functools.cache
def _server() -> str:
    """The address of the process that the others are forked from, which ends with this one."""
    folder = tempfile.TemporaryDirectory()
    address = f"{folder.name}/socket"
    command = [sys.executable, "-m", "tests.forked", address]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def end() -> None:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
        folder.cleanup()

    atexit.register(end)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return address


def _serve(address: str) -> dict[str, Any]:
    """Returns only in a process that was forked to run a command: what was asked for."""
    for name in _IMPORTED:
        importlib.import_module(name)
    importlib.import_module("tinydistill.latency").SECONDS = 0.02  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            connection, _ = server.accept()
            with connection:
                if not os.fork():
                    return _attended(connection)
            _reap()
    _reap()
    sys.exit()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attended(connection: socket.socket) -> dict[str, Any]:
    """Returns in a process of its own, while the one that called waits for its end, tells it, and ends."""
    size, outputs, _, _ = socket.recv_fds(connection, 8, 2)
    asked = json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL))
    if pid := os.fork():
        for file in outputs:
            os.close(file)
        connection.sendall(f"{pid:16}".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(f"{code:16}".encode())
        os._exit(0)
    connection.close()
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(file, number)
        os.close(file)
    return asked


def _run(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """As the interpreter does it."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[1:1] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    if arguments[0] == "-c":
        sys.path[0], sys.argv = "", ["-c", *arguments[2:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), vars(main))
    elif arguments[0] == "-m":
        sys.path[0], sys.argv = cwd, arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).resolve().parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _run(**_serve(sys.argv[1]))

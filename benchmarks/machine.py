"""What the machine can do, and how long and how much memory something took."""

import contextlib
import ctypes
import math
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch

from glue_tasks import UserError


def check_inputs(**inputs: Path) -> None:
    """Raises UserError if one is not there: real data and models are no part of the project. Named by their flags."""
    for name, path in inputs.items():
        if not path.exists():
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"there is no {path}, on which this is measured; name another with {flag}")


@torch.inference_mode()
def matrix_peak(dtype: torch.dtype, seconds: float = 2.0) -> float:
    """GFLOP/s of the widest product of a BERT-base, (2048, 768) x (768, 3072), on this machine now."""
    layer = torch.nn.Linear(768, 3072, dtype=dtype)
    states = torch.randn(2048, 768, dtype=dtype)
    layer(states)
    began, passes = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        layer(states)
        passes += 1
    return passes * 2 * 2048 * 768 * 3072 / (time.perf_counter() - began) / 1e9


class Clock:
    """Wall and processor seconds. On a machine that others use too, the processor's are the ones to trust."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def peak_memory_mb() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def give_back() -> None:
    """Give freed memory back to the system, which a MemoryWatch would not see taken again. With glibc alone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class MemoryWatch:
    """The most memory of each kind that this process holds between `with` and its end, beyond what it held before.

    Anonymous memory is its own; of mapped files the system drops what it needs for others. Read from Linux's /proc.
    """

    anonymous_mb: int
    mapped_mb: int
    processor_seconds: float  # its own, after the end
    _KINDS: tuple[str, ...] = ("anonymous_mb", "mapped_mb")  # attributes, in the order of `_now`

    def __init__(self, every: float = 0.02):
        self.every = every

    def __enter__(self) -> Self:
        self._before = self._most = self._now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for kind, most, before in zip(self._KINDS, self._most, self._before, strict=True):
            setattr(self, kind, round(most - before))

    def read(self) -> dict[str, int]:
        """Megabytes of each kind, after the end."""
        return {kind: getattr(self, kind) for kind in self._KINDS}

    def _look(self) -> None:
        while True:
            self._most = tuple(map(max, self._most, self._now()))
            if self._ended.wait(self.every):
                self.processor_seconds = time.thread_time()
                return

    def _now(self) -> tuple[float, ...]:
        return _held_mb(os.getpid())


class ProcessesWatch(MemoryWatch):
    """The same, and what the processes that this one starts meanwhile hold: all of them together, and the largest."""

    workers_anonymous_mb: int
    workers_mapped_mb: int
    largest_worker_mb: int  # anonymous
    _KINDS = (*MemoryWatch._KINDS, "workers_anonymous_mb", "workers_mapped_mb", "largest_worker_mb")

    def __init__(self, every: float = 0.1):  # it looks through all processes of the machine
        super().__init__(every)
        self._others = set(_started_by(os.getpid()))

    def _now(self) -> tuple[float, ...]:
        held = []
        for process in set(_started_by(os.getpid())) - self._others:
            with contextlib.suppress(OSError, KeyError):  # it has just ended
                held.append(_held_mb(process))
        anonymous, mapped = zip(*held, strict=True) if held else ((), ())
        return *super()._now(), sum(anonymous), sum(mapped), max(anonymous, default=0.0)


def _held_mb(process: int) -> tuple[float, float]:
    """Anonymous memory and mapped files."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024, int(lines["RssFile"].split()[0]) / 1024


def _started_by(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # Behind the program's name, which may hold anything: the state and the parent.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def alone(measure: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Run a measurement in a process of its own, which may start others, so that its memory is its own too."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *args).result()


def times_as_long(
    measure: Callable[..., dict[str, Any]], args: tuple[Any, ...], usual: dict[str, str], other: dict[str, str]
) -> float:
    """Processor seconds with the environment variables `other`, as a multiple of those with `usual`.

    Both run at once, a thread on a core each, and again with the cores exchanged: what else the machine does slows
    both, so that the ratio is good to some hundredths where equal runs in turns differ by a quarter.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    ratios = []
    for first, second in (cores, cores[::-1]):
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            runs = [
                pool.apply_async(_on_a_core, (core, variables, measure, args))
                for core, variables in ((first, usual), (second, other))
            ]
            with_usual, with_other = (run.get()["processor"] for run in runs)
        ratios.append(with_other / with_usual)
    return math.sqrt(ratios[0] * ratios[1])


def _on_a_core(
    core: int, variables: dict[str, str], measure: Callable[..., dict[str, Any]], args: tuple[Any, ...]
) -> dict[str, Any]:
    os.sched_setaffinity(0, {core})
    os.environ.update(variables)
    torch.set_num_threads(1)
    return measure(*args)

"""What the machine can do, and how long and how much memory something took."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def alone(measure: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Run a measurement in a process of its own, so that its memory is its own too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, args)

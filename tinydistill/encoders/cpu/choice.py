"""Whether a faster way runs, or its plain twin: each is tried once a process, before its first use."""

import functools
import os
from collections.abc import Callable
from typing import Any

import torch

from glue_tasks.errors import is_outside
from glue_tasks.tally import warn_once

PLAIN = "TINYDISTILL_PLAIN"  # this environment variable, set to 1, turns every faster way off


def uses(name: str, check: Callable[..., None], *given: Any) -> bool:
    """Whether the faster way `name` runs; else the caller runs PyTorch's own.

    `check(*given)` runs it on a small input and raises if an operator is missing, or if the result is not that of the
    plain twin. A failed check is reported once, in one sentence; with TINYDISTILL_PLAIN=1 nothing is tried or said.
    """
    return os.environ.get(PLAIN, "0") in ("", "0") and passes(name, check, *given)


@functools.cache
def passes(name: str, check: Callable[..., None], *given: Any) -> bool:
    """Run a check as if nothing around it were set: no autocast, no inference mode, and the random state stays."""
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.device("cpu"),
        ):
            torch.default_generator.manual_seed(0)
            check(*given)
    except Exception as error:  # an operator that another version lacks or calls otherwise may raise anything
        if is_outside(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warn_once(f"{name} cannot be used here and PyTorch's own way is taken, which is slower ({reason})")
        return False
    return True

"""Whether a faster way runs, or its plain twin: each is tried once a process, before its first use."""

import functools
import os
from collections.abc import Callable
from typing import Any

import torch

from glue_tasks.errors import is_outside, warn_once

# This environment variable, set to 1, turns every faster way off; set to names of files here, such as
# "dropout,products", it turns off those.
PLAIN = "TINYDISTILL_PLAIN"


def uses(name: str, check: Callable[..., None], *given: Any) -> bool:
    """Whether the faster way `name` runs; else the caller runs PyTorch's own.

    `check(*given)` runs it on a small input and raises if an operator is missing, or if the result is not that of the
    plain twin. A failed check is reported once, in one sentence; of what TINYDISTILL_PLAIN turns off nothing is tried
    or said. A check lies in the file of its faster way.
    """
    off = os.environ.get(PLAIN, "0").split(",")
    return "1" not in off and check.__module__.rpartition(".")[2] not in off and passes(name, check, *given)


@functools.cache
def passes(name: str, check: Callable[..., None], *given: Any) -> bool:
    """Run a check as if nothing around it were set: no autocast, no inference mode, and the random state stays.

    Nor does gradient checkpointing around it see its tensors, which it would miss when it computes anew.
    """
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.device("cpu"),
            torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor),
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

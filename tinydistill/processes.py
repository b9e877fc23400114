"""Several processes of one run, as torchrun and `accelerate launch` start them.

The first one decides, writes and speaks; the others follow. In a run of one process nothing here does anything.
Reference: https://docs.pytorch.org/docs/stable/distributed.html
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from glue_tasks.errors import UserError

T = TypeVar("T")

_LONG = timedelta(days=30)  # the others may wait while the first tokenises or augments for hours
_UNTIL_IT_IS_SAID = 2.0  # seconds; the launcher ends all processes as soon as one has ended
_UNTIL_IT_IS_SEEN = 60.0  # seconds; a file system of the network tells other machines a little later
_patient: dist.ProcessGroup | None = None  # over gloo, for what lies in memory


def count() -> int:
    """Processes of the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def index() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    return index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Meet the other processes. If one fails, it alone says why, and all end with exit code 2."""
    store, rank, size = next(dist.rendezvous("env://"))
    try:
        _meet(store, rank, size)
        yield
        wait()  # those that are done do not miss what another one has yet to say
    except (Exception, KeyboardInterrupt) as error:
        if _is_told(store):  # ours is the same mistake, or the loss of the process that made one
            time.sleep(_UNTIL_IT_IS_SAID)
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None
        assert sys.__stderr__ is not None
        sys.stderr = sys.__stderr__  # only the first process may speak otherwise
        raise
    dist.destroy_process_group()


def _meet(store: dist.Store, rank: int, size: int) -> None:
    """Raises UserError if the machine has fewer accelerators than processes."""
    global _patient
    accelerator = torch.accelerator.current_accelerator()
    if accelerator:
        devices, local = torch.accelerator.device_count(), int(os.environ["LOCAL_RANK"])
        if local >= devices:
            raise UserError(f"there are more processes than the {devices} accelerators; use --nproc-per-node {devices}")
        torch.accelerator.set_device_index(local)
    dist.init_process_group(None if accelerator else "gloo", store=store, rank=rank, world_size=size)
    _patient = dist.new_group(backend="gloo", timeout=_LONG)


def _is_told(store: dist.Store) -> bool:
    """Whether another process has said what is wrong; if not, this one will."""
    try:
        return store.add("told", 1) > 1
    except RuntimeError:  # the store went with the process that kept it
        return True


def from_first(function: Callable[[], T]) -> T:
    """What the function gives in the first process, which alone runs it while the others wait."""
    result = [function() if is_first() else None]
    if count() > 1:
        dist.broadcast_object_list(result, src=0, group=_patient)
    return result[0]  # type: ignore[return-value]


def after_first(function: Callable[[], T]) -> T:
    """Run it in the first process, then in the others, which find on disk what the first one made."""
    if count() == 1:
        return function()
    made = [function()] if is_first() else []
    wait()
    return made[0] if made else function()


def check_shared(path: Path) -> None:
    """Raises UserError if what the first process wrote cannot be seen by this one: its machine has other disks."""
    patience = time.monotonic() + _UNTIL_IT_IS_SEEN
    while not path.exists():
        if time.monotonic() > patience:
            raise UserError(
                f"{path}, which the first process wrote, cannot be seen by process {index()}; several machines need an "
                "--output-dir on a file system that they share"
            )
        time.sleep(0.1)


def wait() -> None:
    """Go on when all processes are here."""
    if count() > 1:
        dist.barrier(group=_patient)


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over the processes, in memory of the CPU."""
    values = values.cpu()
    if count() > 1:
        dist.all_reduce(values, group=_patient)
    return values

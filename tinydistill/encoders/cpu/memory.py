"""What becomes of memory that a step has freed and the next one takes again."""

import ctypes
import sys

from tinydistill.encoders.cpu.choice import uses

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST_KEPT = 2**30  # bytes; the gradient of 250,000 word embeddings of 768 dimensions is as large


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed, where it would give them back to the system at once.

    The gradient of BERT's word embeddings, 38 MB for a student of width 312, is made anew in each step; taken from the
    system page by page it costs as much as the products of a small student with short texts (docs/speed.md).
    Reference: mallopt(3). It changes the whole process, no result, and nothing with another C library.
    """
    if sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        uses("keeping freed memory", _set_thresholds)


def _set_thresholds() -> None:
    mallopt = ctypes.CDLL(None).mallopt
    for threshold in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        if mallopt(threshold, _LARGEST_KEPT) != 1:
            raise RuntimeError("mallopt refused")

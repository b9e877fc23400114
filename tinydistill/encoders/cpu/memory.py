"""What becomes of memory that a step has freed and the next one takes again."""

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST_KEPT = 2**30  # bytes; the gradient of 250,000 word embeddings of 768 dimensions is as large


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed, where it would give them back to the system at once.

    The gradient of BERT's word embeddings, 38 MB for a student of width 312, is made anew in each step; taken from the
    system page by page it costs as much as the products of a small student with short texts (docs/speed.md).
    Reference: mallopt(3). With another C library nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_KEPT)

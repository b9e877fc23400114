"""Teacher and student in, student out: the two phases of TinyBERT (Jiao et al. 2020, arXiv 1909.10351)."""

from glue_tasks.version import __version__

__all__ = ["__version__"]

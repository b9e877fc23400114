"""Teacher and student in, student out: the two phases of TinyBERT (Jiao et al. 2020, arXiv 1909.10351)."""

__version__ = "0.1.0"

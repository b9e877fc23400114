"""Sentences in, variants out (TinyBERT, Jiao et al. arXiv 1909.10351, Algorithm 1); knows tasks, not distillation."""

from typing import TYPE_CHECKING, Any

from augment.candidate_options import CandidateOptions

if TYPE_CHECKING:
    from augment.augmenter import Augmenter

__all__ = ["Augmenter", "CandidateOptions"]


def __getattr__(name: str) -> Any:
    """`Augmenter`, once it is asked for: it brings torch, which takes seconds, and the command line begins without."""
    if name != "Augmenter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from augment.augmenter import Augmenter

    return Augmenter

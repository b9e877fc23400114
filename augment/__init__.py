"""Sentences in, variants out (TinyBERT, Jiao et al. arXiv 1909.10351, Algorithm 1); knows tasks, not distillation."""

from augment.augmenter import Augmenter
from augment.choices import Choices

__all__ = ["Augmenter", "Choices"]

"""Candidates from word vectors: the nearest words by cosine.

Serves the words that the masked LM's tokenizer splits into several pieces (TinyBERT, arXiv 1909.10351, Algorithm 1;
the paper takes GloVe, Pennington et al. 2014). Each word is looked up once, however often it occurs, and many at a time
by one matrix product.
"""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from augment.word_vectors import read_vectors
from augment.words import is_content_word
from glue_tasks import UserError

_BLOCK = 256  # words looked up by one product; its similarities take 400 MB for GloVe's 400,000 words


class Neighbours:
    """The m nearest words of each word, computed when first asked for and kept."""

    def __init__(
        self,
        words: list[str],
        vectors: np.ndarray,
        m: int,
        limit: int | None = None,
        device: str = "cpu",
        is_content: Callable[[str], bool] = is_content_word,
    ):
        """words: V words, the more frequent first. vectors: (V, D). limit: only the first so many can be neighbours.

        Only content words, as `is_content` tells them, can be neighbours. Of the forms that differ by case alone the
        first stands for all: case is given back when a word is replaced, and "Film" is no variant of "film".
        """
        self.m = m
        rows: dict[str, int] = {}
        for row, (word, norm) in enumerate(zip(words, np.linalg.norm(vectors, axis=-1), strict=True)):
            if is_content(word) and 0 < norm < np.inf:  # the cosine with a vector of zeros means nothing
                rows.setdefault(_key(word), row)
        self.words = list(rows)
        self._index = {word: i for i, word in enumerate(self.words)}
        self._choice = len(rows) if limit is None else sum(1 for row in rows.values() if row < limit)
        kept = torch.from_numpy(vectors[list(rows.values())]).to(device)
        self._unit = torch.nn.functional.normalize(kept, dim=-1)  # (W, D)
        self._known: dict[str, tuple[str, ...]] = {}

    @classmethod
    def load(
        cls,
        path: Path,
        m: int,
        limit: int | None = None,
        device: str = "cpu",
        is_content: Callable[[str], bool] = is_content_word,
    ) -> "Neighbours":
        """Read GloVe's or word2vec's text format, both sorted by frequency.

        Raises UserError if the file is of another kind, not whole, or of no content word.
        """
        words, vectors = read_vectors(path)
        neighbours = cls(words, vectors, m, limit, device, is_content)
        if not neighbours.words:
            raise UserError(
                f"{path} has {len(words):,} words, of which none may be put into a text ({', '.join(words[:3])}, ...); "
                "name vectors of the task's language with --vectors"
            )
        return neighbours

    def __contains__(self, word: str) -> bool:
        """Whether a word, in any case, has a vector."""
        return _key(word) in self._index

    def nearest(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For each word, in any case, its nearest, lower-cased, the nearest first; () if it has no vector."""
        words = list(words)
        new = list(dict.fromkeys(key for key in map(_key, words) if key not in self._known))
        self._known.update((word, ()) for word in new if word not in self._index)
        new = [word for word in new if word in self._index]
        for start in range(0, len(new), _BLOCK):
            block = new[start : start + _BLOCK]
            rows = torch.tensor([self._index[word] for word in block], device=self._unit.device)
            similarity = self._unit[rows] @ self._unit[: self._choice].T  # (block, C)
            # A float32 product may round differently beside other words; so the best are ranked anew, one by one.
            near = similarity.topk(min(2 * (self.m + 1), self._choice)).indices.sort(dim=-1).values  # (block, K)
            exact = torch.einsum("bd,bkd->bk", self._unit[rows].double(), self._unit[near].double())
            ranked = near.gather(1, exact.argsort(dim=-1, descending=True, stable=True)).tolist()
            for word, ids in zip(block, ranked, strict=True):
                self._known[word] = tuple(self.words[i] for i in ids if self.words[i] != word)[: self.m]
        return {word: self._known[_key(word)] for word in words}


def _key(word: str) -> str:
    """Lower case and composed: "cafe\u0301", as some texts write it, is "café"."""
    return word.lower() if word.isascii() else unicodedata.normalize("NFC", word.lower())

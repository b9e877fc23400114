"""Candidates from word vectors: the nearest words by cosine.

Serves the words that the masked LM's tokenizer splits into several pieces (TinyBERT, arXiv 1909.10351, Algorithm 1;
the paper takes GloVe, Pennington et al. 2014). Each word is looked up once, however often it occurs, and many at a time
by one matrix product.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from gensim.models import KeyedVectors

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
                rows.setdefault(word.lower(), row)
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

        Raises UserError if the file is of another kind.
        """
        vectors = read_vectors(path)
        words = [word or "" for word in vectors.index_to_key]  # gensim leaves None for a word that came before
        return cls(words, vectors.vectors, m, limit, device, is_content)

    def __contains__(self, word: str) -> bool:
        """Whether a word, in any case, has a vector."""
        return word.lower() in self._index

    def nearest(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For each word, in any case, its nearest, lower-cased, the nearest first; () if it has no vector."""
        words = list(words)
        new = list(dict.fromkeys(word.lower() for word in words if word.lower() not in self._known))
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
        return {word: self._known[word.lower()] for word in words}


def read_vectors(path: Path) -> KeyedVectors:
    if not path.is_file():
        raise UserError(f"there is no file {path}; name one with --vectors (GloVe: nlp.stanford.edu/projects/glove)")
    has_header, size = _read_shape(path)
    odd = sum(1 for _, _, fits in _vector_lines(path, has_header, size) if not fits)
    try:
        if not odd:
            return KeyedVectors.load_word2vec_format(str(path), no_header=not has_header, unicode_errors="replace")
        # gensim stops at a word with a space inside, of which GloVe 840B has a few dozen: it gets a copy without them.
        with tempfile.NamedTemporaryFile(suffix=".txt") as copy:
            copy.writelines(line for _, line, fits in _vector_lines(path, has_header, size) if fits)
            copy.flush()
            return KeyedVectors.load_word2vec_format(copy.name, no_header=True, unicode_errors="replace")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a file of word vectors in text format: {error}") from None


def _read_shape(path: Path) -> tuple[bool, int]:
    """Whether the first line is word2vec's header, "words dimensions", and the dimensions of the vectors."""
    with open(path, "rb") as file:
        first = file.readline()
        fields = first.split()
        has_header = len(fields) == 2 and all(field.isdigit() for field in fields)
        line = file.readline() if has_header else first
    if not line.strip():
        raise UserError(f"{path} holds no word vectors: the file is empty")
    _, *numbers = line.rstrip().split(b" ")
    if b"\0" in line or not _is_utf8(line):
        raise UserError(
            f"{path} is a binary or packed file; unpack it, or save the vectors as text "
            "(gensim: save_word2vec_format(..., binary=False))"
        )
    if not numbers or not all(_is_number(number) for number in numbers):
        raise UserError(
            f"{path} is not a file of word vectors: its first line should be a word and its numbers, separated by "
            f"spaces, and is {line[:40].decode(errors='replace').rstrip()!r}"
        )
    return has_header, int(fields[1]) if has_header else len(numbers)


def _vector_lines(path: Path, has_header: bool, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Line numbers, lines, and whether the line is one word and `size` numbers: a blank one is not, nor a word with a
    space inside.

    Raises UserError at a line with more or fewer numbers than the others.
    """
    with open(path, "rb") as file:
        skipped = _skip(file, 1 if has_header else 0)
        for number, line in enumerate(file, start=skipped + 1):
            stripped = line.rstrip()
            fields = stripped.count(b" ")
            if stripped and fields != size and (fields < size or _is_number(line.split(b" ", 2)[1])):
                raise UserError(
                    f"{path}, line {number}: {fields} numbers where {size} are expected; is the file whole?"
                )
            yield number, line, fields == size


def _skip(file: BinaryIO, lines: int) -> int:
    for _ in range(lines):
        file.readline()
    return lines


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True

"""Word vectors in text, as GloVe, word2vec and fastText write them: a word and its numbers a line, the more frequent
words first; word2vec's and fastText's begin with a header of how many words and numbers there are."""

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from glue_tasks import UserError

_SAMPLED_LINES = 100  # lines, to tell how many numbers each has


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """V words and their vectors (V, D) in float32, in the order of the file.

    The last D fields of a line are the vector, and what stands before them is the word, be there spaces in it ("windows
    95" in GloVe 840B); fields are parted by spaces or tabs. A word that is a space is left out. Raises UserError if the
    file is of another kind or not whole, or a number is not finite.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; name one with --vectors (GloVe: nlp.stanford.edu/projects/glove)")
    announced, size = _shape(path)
    words: list[str] = []
    blank = 0
    numbers = array("f")
    for number, line in islice(_lines(path), 1 if announced is not None else 0, None):
        word, *fields = line.rsplit(None, size)
        if len(fields) < size:
            if line[:1].isspace():  # the word is a space
                blank += 1
                continue
            raise UserError(
                f"{path}, line {number}: {len(fields)} numbers where {size} are expected; the file is cut off or "
                "damaged, copy or download it again"
            )
        try:
            numbers.extend(map(float, fields))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}; copy or download the file again") from None
        words.append(word.decode(errors="replace").strip())
    if announced is not None and len(words) + blank < announced:
        raise UserError(
            f"{path} is cut off: {len(words):,} words are there, and its first line announces {announced:,}; copy or "
            "download it again, or remove that line to take those that are there"
        )
    vectors = np.frombuffer(numbers, dtype=np.float32).reshape(-1, size)
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        first = words[int(finite.argmin())]
        raise UserError(f"{path}: the vector of {first!r} holds a number that is not finite; take the word out")
    return words, vectors


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The numbers and bytes of the lines that are not blank, without a byte-order mark."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            stripped = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if stripped.strip():
                yield number, stripped.rstrip()


def _shape(path: Path) -> tuple[int | None, int]:
    """How many words a header announces, None without one, and how many numbers most of the first lines have."""
    first = [line for _, line in islice(_lines(path), _SAMPLED_LINES + 1)]
    header = first[0].split() if first else []
    announced = int(header[0]) if len(header) == 2 and all(field.isdigit() for field in header) else None
    lines = first[1:] if announced is not None else first
    if not lines:
        raise UserError(f"{path} holds no word vectors: the file is empty")
    if any(b"\0" in line or not _is_utf8(line) for line in lines[:1]):
        raise UserError(
            f"{path} is a binary or packed file; unpack it, or save the vectors as text "
            "(gensim: save_word2vec_format(..., binary=False))"
        )
    sizes = Counter(map(_trailing_numbers, lines))
    ((size, _),) = sizes.most_common(1)
    if not size:
        raise UserError(
            f"{path} is not a file of word vectors: a line should be a word and its numbers, separated by spaces or "
            f"tabs, and the first is {lines[0][:40].decode(errors='replace')!r}"
        )
    if announced is not None and size != int(header[1]):
        raise UserError(
            f"{path}: its first line announces {int(header[1])} numbers a word, and the lines below have {size}; copy "
            "or download it again"
        )
    return announced, size


def _trailing_numbers(line: bytes) -> int:
    """How many fields at the end of a line are numbers, the first field being none of them."""
    _, *fields = line.split()
    count = 0
    while count < len(fields) and _is_number(fields[-1 - count]):
        count += 1
    return count


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

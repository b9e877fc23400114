"""A corpus is made and read in memory that does not grow with it, but for a few bytes a row."""

import collections
import functools
import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.corpus.corpora import made_up, write_text
from tinydistill.corpus import dataset, held_out, index, pairs, reading, tokens, work
from tinydistill.corpus.dataset import Format, load_rows
from tinydistill.corpus.store import Corpus
from tinydistill.corpus.tokens import tokenise_corpus
from tinydistill.data import LengthBucketSampler

TIMES = 8
_SMALL, _LARGE = 60, 60 * TIMES  # documents


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at a time is far less than the smaller corpus."""
    monkeypatch.setattr(tokens, "_SHARD", 1_000)
    monkeypatch.setattr(work, "_AT_ONCE", 500)
    for module in (dataset, held_out, index, pairs):
        monkeypatch.setattr(module, "_AT_ONCE", 16)
    monkeypatch.setattr(hashlib, "file_digest", functools.partial(hashlib.file_digest, _bufsize=1_000))


def peak(function: Callable[[], object]) -> int:
    """Bytes of Python's objects and NumPy's arrays, beyond what there was before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def made(folder: Path, documents: int) -> Corpus:
    path = write_text(folder / f"{documents}.txt", made_up(documents, 8, 12))
    return tokenise_corpus([path], make_tokenizer(), folder / "cache", workers=1)


@pytest.mark.usefixtures("in_small_parts")
def test_tokenising_holds_no_more_of_a_larger_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_key", lambda files, *rest: files[0].stem)  # which reads much code
    tokenizer = make_tokenizer()
    found = []
    for documents in (3, _SMALL, _LARGE):  # the first is not counted
        path = write_text(tmp_path / f"{documents}.txt", made_up(documents, 8, 12))
        most = peak(lambda path=path: tokenise_corpus([path], tokenizer, tmp_path / "cache", workers=1))
        found.append((most, len(made(tmp_path, documents).pieces)))
    (_, _), (small, fewer), (large, more) = found
    assert more > (TIMES - 1) * fewer
    # A few hundred bytes for each shard, which has 1,000 characters here and 4 million else; its arrays have 9 a piece.
    assert large - small < 4 * (more - fewer)


@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize("rows", [Format(16), Format(16, mix_documents=True), Format(16, pairs=True)])
def test_rows_and_an_order_hold_a_few_bytes_a_row(rows: Format, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    found = []
    for documents in (12, _SMALL, _LARGE):  # the first is not counted
        corpus = made(tmp_path, documents)
        counts = []

        def read(corpus: Corpus = corpus, counts: list[int] = counts) -> None:
            train, _ = load_rows(corpus, tokenizer, rows, 2, seed=0)
            order = LengthBucketSampler(train.lengths, 4, seed=0).order()
            for row in order[:40].tolist():
                train[row]
            counts.append(len(train))

        found.append((peak(read), counts[0]))
    (_, _), (small, fewer), (large, more) = found
    assert more > (TIMES - 1) * fewer
    # The lengths (2), an order (4), the same again while its batches are put in order, and their numbers (8 of 4 rows).
    assert large - small < (2 + 4 + 4 + 2) * (more - fewer) + 2_000


def test_reading_holds_a_line(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", [["the film " * 20] * 1_000])
    assert peak(lambda: collections.deque(reading.corpus_lines([path]), maxlen=0)) < path.stat().st_size / 4

import gzip
from pathlib import Path

import numpy as np
import pytest

from augment import neighbours
from augment.neighbours import Neighbours
from augment.words import is_content_word
from glue_tasks import UserError


def random_words(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    words = list(dict.fromkeys("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(count)))
    return words, rng.normal(size=(len(words), 12)).astype(np.float32)


def brute_force(words: list[str], vectors: np.ndarray, word: str, m: int, limit: int | None = None) -> list[str]:
    """One search at a time in float64, by a full sort."""
    exact = vectors.astype(np.float64)
    own = exact[words.index(word)]
    cosine = {
        other: exact[i] @ own / np.linalg.norm(exact[i]) / np.linalg.norm(own)
        for i, other in enumerate(words[:limit])
        if other != word and is_content_word(other)
    }
    return sorted(cosine, key=lambda other: -cosine[other])[:m]


@pytest.mark.parametrize("limit", [None, 50])
def test_nearest_by_cosine_in_blocks(monkeypatch, limit):
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    words, vectors = random_words(120)
    found = Neighbours(words, vectors, m=6, limit=limit).nearest(words)
    for word in words:
        assert list(found[word]) == brute_force(words, vectors, word, 6, limit)


def test_asked_again_or_apart_the_answer_is_the_same():
    words, vectors = random_words(60)
    at_once = Neighbours(words, vectors, m=4).nearest(words)
    one_by_one = Neighbours(words, vectors, m=4)
    assert {word: one_by_one.nearest([word])[word] for word in words} == at_once
    assert one_by_one.nearest(words) == at_once


def test_case_stop_words_and_unknown_words():
    words = ["Film", "film", "FILM", "the", "movie", "42", "don't", "Movie", "plot", "zero", "x"]
    vectors = np.eye(len(words), dtype=np.float32) * 0.1 + 1
    vectors[words.index("zero")] = 0
    found = Neighbours(words, vectors, m=15).nearest(["FiLm", "plot", "zero", "absent"])
    assert set(found["FiLm"]) == {"movie", "plot"}
    assert set(found["plot"]) == {"film", "movie"}
    assert found["zero"] == found["absent"] == ()


def test_nothing_asked():
    words, vectors = random_words(5)
    assert Neighbours(words, vectors, m=3).nearest([]) == {}


GOOD = "film 1 0\nmovie 0.9 0.1\nplot 0 1\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "3 2\n" + GOOD,
        GOOD.replace("\n", " \n"),  # the C tool ends its lines with a space
        GOOD.replace("\n", "\r\n"),
        GOOD + "\n",
        "the\u00a0end 0.5 0.5\n" + GOOD,
        GOOD + ". . . 0.5 0.5\n" + "at name@domain.com 0.5 0.5\n",  # as in GloVe 840B
        "5 2\n" + GOOD + ". . . 0.5 0.5\n\u0085 0.5 0.5\n",
        GOOD + "film 0 1\n",
    ],
)
def test_layouts_of_vectors_files(tmp_path, text):
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode())
    assert Neighbours.load(path, m=1).nearest(["film", "plot"]) == {"film": ("movie",), "plot": ("movie",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"3 2\n", "empty"),
        (b"sentence\tlabel\na film\t1\n", "not a file of word vectors"),
        (b"a sentence of words\nanother\n", "not a file of word vectors"),
        (b"film 1 0\nmovie 0.9\n", "line 2: 1 numbers where 2"),
        (b"film 1 0\nmovie 0.9 1 2\n", "line 2: 3 numbers where 2"),
        (b"2 3\nfilm 1 0\nmovie 1 0\n", "line 2: 2 numbers where 3"),
        (b"9 2\nfilm 1 0\n", "not a file of word vectors in text format"),
        (b"film 1 0\nmovie 1 x\n", "not a file of word vectors in text format"),
        (b"2 3\nfilm \x00\x00\x80\x3f\x00\x00\x00\x00\x00\x00\x80\x3f\n", "binary"),
        (gzip.compress(GOOD.encode()), "binary or packed"),
    ],
)
def test_other_kinds_of_files_are_refused(tmp_path, content, message):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Neighbours.load(path, m=2)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file():
    with pytest.raises(UserError, match="there is no file nowhere.txt"):
        Neighbours.load(Path("nowhere.txt"), m=2)

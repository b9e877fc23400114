import gzip
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment import neighbours
from augment.neighbours import Neighbours
from augment.word_vectors import read_vectors
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


def test_accents_may_be_characters_of_their_own():
    vectors = np.array([[1, 0], [0.9, 0.1]], dtype=np.float32)
    known = Neighbours(["cafe\u0301", "film"], vectors, m=1)
    assert known.nearest(["caf\u00e9", "CAFE\u0301"]) == {"caf\u00e9": ("film",), "CAFE\u0301": ("film",)}
    assert "caf\u00e9" in known


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
        GOOD.replace(" ", "\t"),
        "3\t2\n" + GOOD.replace(" ", "\t"),
        GOOD.replace(" ", "  "),
        GOOD + "windows 95 0.5 0.5\n0.1 2 0.5 0.5\n",  # the last two are the vector
        "\ufeff" + GOOD,
        "\ufeff3 2\n" + GOOD,
        "4 2\n  0.5 0.5\n" + GOOD,  # a word that is a space
        "2 2\n" + GOOD,  # more than announced
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
        (b"film 1 0 2\nmovie 1 0 2\nplot 0.5", "line 3: 1 numbers where 3.*copy or download it again"),
        (b"2 3\nfilm 1 0\nmovie 1 0\n", "announces 3 numbers a word, and the lines below have 2"),
        (b"2 2\nfilm 1 0 3\nmovie 1 0 3\n", "announces 2 numbers a word, and the lines below have 3"),
        (b"9 2\nfilm 1 0\n", "cut off: 1 words are there, and its first line announces 9; copy or download it again"),
        (b"film 1 0\nmovie 1 nan\n", "the vector of 'movie' holds a number that is not finite"),
        (b"film 1 0\nmovie 1 1e60\n", "the vector of 'movie' holds a number that is not finite"),
        (b"film 1 0\nmovie 1 x\n", "line 2: could not convert string to float: b'x'"),
        (b"the 1 0\nof 0 1\n42 1 1\n", r"has 3 words, of which none may be put into a text \(the, of, 42"),
        ("电影 1 0\n酒店 0 1\n".encode(), "vectors of the task's language"),
        (b"2 3\nfilm \x00\x00\x80\x3f\x00\x00\x00\x00\x00\x00\x80\x3f\n", "binary"),
        (gzip.compress(GOOD.encode(), mtime=0), "binary or packed"),
    ],
)
def test_other_kinds_of_files_are_refused(tmp_path, content, message):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        Neighbours.load(path, m=2)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.lists(st.tuples(st.text(string.ascii_letters + "é酒", min_size=1, max_size=8), st.text("ab 9.", max_size=5))),
    st.integers(2, 5),
    st.sampled_from([" ", "\t", "  "]),
    st.sampled_from(["\n", "\r\n", " \n"]),
    st.booleans(),
    st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, words, size, separator, end, has_header, has_mark):
    """Whatever the separators, with a header or a byte-order mark or not, and with spaces inside words."""
    named = ["film", "movie", "plot"] + [f"{word} {more}".strip() for word, more in words]
    named += [f"word{i}" for i in range(len(words))]  # most words are of one part
    values = np.random.default_rng(len(named)).normal(size=(len(named), size)).astype(np.float32)
    lines = [separator.join([word, *map(repr, map(float, row))]) for word, row in zip(named, values, strict=True)]
    content = "".join(f"{line}{end}" for line in ([f"{len(named)} {size}"] if has_header else []) + lines)
    path = tmp_path_factory.getbasetemp() / "written.txt"
    path.write_bytes((b"\xef\xbb\xbf" if has_mark else b"") + content.encode())
    found, vectors = read_vectors(path)
    assert found == named
    np.testing.assert_array_equal(vectors, values)


def test_missing_file():
    with pytest.raises(UserError, match="there is no file nowhere.txt"):
        Neighbours.load(Path("nowhere.txt"), m=2)

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.words import find_words, is_content_word, match_case


def replaceable(sentence: str) -> list[str]:
    return [word.text for word in find_words(sentence) if word.replaceable]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("it 's a gripping film .", ["gripping", "film"]),
        ("you ca n't miss it", ["miss"]),  # treebank tokens, as SST-2 has them
        ("we need n't look , and they dare N'T", ["look"]),  # no stump is in the stop list here
        ("they need n\u2019t look", ["look"]),
        ("he doesn't sleep, can't eat", ["sleep", "eat"]),
        ("do n't , did n't , would n't , wo n't , is n't", []),
        ("not no nor never neither nothing nobody without cannot hardly", []),
        ("the 'good' film", ["good", "film"]),  # quotation marks are no apostrophes inside
        ("a revenge-of-the-nerds film - good", ["film", "good"]),
        ("a 10th-rate B2B c3po 1990s plot_hole film", ["film"]),
        ("-lrb- good -rrb-", ["good"]),
        ("I s t m x plot", ["plot"]),  # no single letters
        ("clichés cliche\u0301s naïve", ["clichés", "cliche\u0301s", "naïve"]),
        ("The FILM And OTHER Stories", ["FILM", "Stories"]),
        (
            "Pope Benedict XVI , World War II , VI , IV , XIX ; MIX CIVIL xi",
            ["Pope", "Benedict", "World", "War", "MIX", "CIVIL", "xi"],
        ),
        ("o'clock o\u02bcclock clock", ["clock"]),
        ("", []),
        (" \u00a0 ", []),
    ],
)
def test_replaceable_words(sentence, expected):
    assert replaceable(sentence) == expected


@given(st.text(max_size=60))
def test_offsets_name_the_words_of_the_sentence_as_written(sentence):
    words = find_words(sentence)
    assert all(sentence[word.start : word.end] == word.text for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert all(unicodedata.normalize("NFC", word.text).isalpha() for word in words if word.replaceable)
    letters = {i for i, character in enumerate(sentence) if character.isalpha()}
    assert letters <= {i for word in words for i in range(word.start, word.end)} | {
        i for i in letters if sentence[i] == "\u02bc"
    }


@pytest.mark.parametrize("text", ["the", "The", "a", "##ing", "[MASK]", "42", "can't", "-", "", "b", "no"])
def test_no_content_word(text):
    assert not is_content_word(text)


@pytest.mark.parametrize(
    ("word", "candidate", "expected"),
    [
        ("film", "Movie", "movie"),
        ("FILM", "movie", "MOVIE"),
        ("Film", "movie", "Movie"),
        ("Film", "MOVIE", "Movie"),
        ("iPhone", "movie", "movie"),
        ("McDonald", "Smith", "Smith"),
        ("Élan", "éclat", "Éclat"),
    ],
)
def test_case_is_that_of_the_replaced_word(word, candidate, expected):
    assert match_case(candidate, word) == expected

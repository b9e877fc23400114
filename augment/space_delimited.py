"""Words of languages that write spaces between them.

A word is a run of letters with their marks, digits and underscores, and the apostrophes or joiners inside it; it is
named by its character offsets in the sentence as it was written, so that whatever replaces it leaves all other
characters alone. Marks belong to the letter before them, so that none is cut (Unicode's grapheme clusters, UAX 29).
Hyphens part words.

Characters between two spaces are ordinary text if they are words with ordinary punctuation around and between them. All
else, such as `train.tsv`, `and/or`, `@name`, `#tag`, `AT&T`, `f(x)` or `key=value`, stays as it is.
"""

import re
from collections.abc import Callable, Iterator

import regex

from augment import protected_spans

APOSTROPHES = "'\u2019\u02bc"
_HYPHENS = "-\u2010\u2011"
_CHARACTERS = r"[\p{L}\p{M}\p{N}_]+"
_A_WORD = rf"{_CHARACTERS}(?:[{APOSTROPHES}\u200c\u200d]{_CHARACTERS})*+"
_WORD = regex.compile(_A_WORD)
_COMPOUND = rf"{_A_WORD}(?:[{_HYPHENS}]{_A_WORD})*+"
_QUOTES = r"""\p{Pi}\p{Pf}"'"""
_ORDINARY = regex.compile(
    rf"(?:[[\p{{Ps}}--{{]{_QUOTES}`´*~¿¡…—–―]|\.{{2,}})*+{_COMPOUND}"
    rf"(?:(?:[,;!?…—–―{_QUOTES}]|\.{{2,}}|-{{2,}})++{_COMPOUND})*+"
    rf"(?:[[\p{{Pe}}--}}]{_QUOTES}´*~.,;:!?…—–―؟،؛।॥]|-{{2,}})*+",
    regex.V1,
)
_CHUNK = re.compile(rf"{protected_spans.PLACEHOLDER}+|[^\s{protected_spans.PLACEHOLDER}]+")


def split(sentence: str, is_protected: Callable[[str, int, int], bool]) -> Iterator[tuple[int, int, bool]]:
    """Start, end, and whether the word is left alone for what it is or what stands beside it.

    is_protected: whether a language leaves a word alone, given the sentence, start and end.
    """
    for chunk in _CHUNK.finditer(protected_spans.mask(sentence, has_spaces=True)):
        text, start = chunk.group(), chunk.start()
        if text.isalpha():
            yield start, chunk.end(), _has_inner_capital(text) or is_protected(sentence, start, chunk.end())
        elif text[0] == protected_spans.PLACEHOLDER:
            yield start, chunk.end(), True
        else:
            is_ordinary = _ORDINARY.fullmatch(text) is not None
            for word in _WORD.finditer(text):
                begin, end = start + word.start(), start + word.end()
                yield (
                    begin,
                    end,
                    not is_ordinary
                    or _is_hyphen(text, word.start() - 1)
                    or _is_hyphen(text, word.end())
                    or _has_inner_capital(word.group())
                    or is_protected(sentence, begin, end),
                )


def _is_hyphen(text: str, place: int) -> bool:
    """Whether a hyphen stands there alone; two are a dash."""
    return 0 <= place < len(text) and text[place] in _HYPHENS and "--" not in text[max(place - 1, 0) : place + 2]


def _has_inner_capital(word: str) -> bool:
    """As `camelCase` has, or McDonald: a name or code."""
    rest = word[1:]
    return not rest.islower() and rest != rest.lower() and word != word.upper()

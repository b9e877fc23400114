"""What a word is, and which words may be replaced and may be put in, by language.

A word may be replaced if it is letters of the language's script only, at least two of them, and not a stop word (the
rule of the original script). Some stay that the script would replace: protected spans (`protected_spans.py`) and what
is no ordinary word (`space_delimited.py`); "don't" and its kin, which are one word here, and the verb before a detached
"n't" ("ca n't", as SST-2 writes it), for either could turn a denial into its opposite; Roman numerals; abbreviations;
and the parts of a compound ("well-intentioned"), which mean nothing by themselves.
"""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import regex

from augment import chinese, english, space_delimited
from augment.candidate_options import CandidateOptions
from augment.english import STOP_WORDS
from augment.languages import SCRIPTS
from glue_tasks import UserError


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence: `text` is `sentence[start:end]`."""

    start: int
    end: int
    text: str
    replaceable: bool


@dataclass(frozen=True)
class WordRules:
    """Which words of a language may be replaced, and which may replace them."""

    language: str = "en"
    stop_words: frozenset[str] = STOP_WORDS  # case-folded, as those below
    kept: frozenset[str] = frozenset()  # words that a label hangs on
    phrases: frozenset[str] = frozenset()  # of several words, each touched as little as a stop word
    letters_only: bool = True

    @classmethod
    def of(cls, options: CandidateOptions) -> "WordRules":
        """Raises UserError if a file of words cannot be read."""
        in_chinese = options.language == "zh"
        stop_words = frozenset() if options.stop_words is None else _read_words(options.stop_words)
        kept = frozenset() if options.keep_words is None else _read_words(options.keep_words)
        # In Chinese what is one word by itself may be two in a sentence.
        phrases = {each for each in stop_words | kept if (len(each) > 1 if in_chinese else _BETWEEN.search(each))}
        built_in = chinese.STOP_WORDS if in_chinese else STOP_WORDS
        return cls(
            options.language,
            built_in if options.stop_words is None else stop_words,
            kept,
            frozenset(phrases),
            options.letters_only,
        )

    def find_words(self, sentence: str) -> list[Word]:
        """The words of a sentence, from left to right."""
        if self.language == "zh":
            spans = chinese.split(sentence)
        else:
            spans = space_delimited.split(sentence, english.is_protected if self.language == "en" else _never)
        words = []
        phrases = [match.span() for match in self._phrase.finditer(sentence)] if self._phrase else None
        for start, end, is_protected in spans:
            text = sentence[start:end]
            if phrases:
                is_protected = is_protected or any(start < after and end > before for before, after in phrases)
            words.append(Word(start, end, text, not is_protected and self.is_content_word(text)))
        return words

    def is_content_word(self, text: str) -> bool:
        """Letters only, two or more, no stop word; in Chinese, Han characters that deny nothing and are no number.

        It holds for words that are replaced and for what replaces them: a function word in place of a noun or an
        adjective breaks the sentence, and "no" or "never" its label.
        """
        if text.isascii():
            composed = text
            has_its_letters = (
                self._takes_ascii and len(text) > 1 and (text.isalpha() if self.letters_only else text.isalnum())
            )
        else:
            # Composed, "é" is one letter; as two characters, the accent is none.
            composed = unicodedata.normalize("NFC", text)
            in_chinese = self.language == "zh"
            has_its_letters = (chinese.is_content if in_chinese else self._content.fullmatch)(composed)
        if not has_its_letters:
            return False
        folded = composed.casefold()
        return folded not in self.stop_words and composed.lower() not in self.stop_words and folded not in self.kept

    def may_replace(self, text: str) -> bool:
        """Whether a text may be put in: a content word, with which no phrase that is kept can come about."""
        return (
            self.is_content_word(text)
            and text.casefold() not in self._words_of_phrases
            and not (self._phrase and self._phrase.search(text))
        )

    def is_part(self, text: str, begins: bool) -> bool:
        """Whether a piece of a vocabulary can be part of a content word, or its beginning.

        No English word begins with a stop word: where a masked LM fills in "the", it hardly means "theology".
        """
        if self.language == "zh":
            return chinese.is_part(text)
        return self._part.fullmatch(text) is not None and not (begins and text.casefold() in self.stop_words)

    @cached_property
    def _takes_ascii(self) -> bool:
        return SCRIPTS.get(self.language) == "Latin"

    @cached_property
    def _letter(self) -> str:
        """A pattern for a letter of the language's script, or a digit where these are letters enough."""
        digits = "" if self.letters_only else r"\p{Nd}"
        return rf"[[\p{{Script={SCRIPTS[self.language]}}}&&\p{{L}}]{digits}]"

    @cached_property
    def _content(self) -> "regex.Pattern[str]":
        return regex.compile(rf"(?:{self._letter}{_MARKS}*+){{2,}}+", regex.V1)

    @cached_property
    def _part(self) -> "regex.Pattern[str]":
        return regex.compile(rf"(?:{self._letter}|{_MARKS})++", regex.V1)

    @cached_property
    def _words_of_phrases(self) -> frozenset[str]:
        if self.language == "zh":
            return frozenset(each[a:b] for each in self.phrases for a, b, _ in chinese.split(each))
        return frozenset(word for each in self.phrases for word in _BETWEEN.split(each))

    @cached_property
    def _phrase(self) -> "regex.Pattern[str] | None":
        """Finds the phrases in a sentence, whatever their case, spaces and hyphens; in Chinese, wherever they stand."""
        if not self.phrases:
            return None
        longest_first = sorted(self.phrases, key=len, reverse=True)
        if self.language == "zh":
            return regex.compile("|".join(map(regex.escape, longest_first)), regex.IGNORECASE)
        either = "|".join(
            _BETWEEN.pattern.join(map(_in_either_form, _BETWEEN.split(phrase))) for phrase in longest_first
        )
        edge = r"[\p{L}\p{M}\p{N}]"
        return regex.compile(f"(?<!{edge})(?:{either})(?!{edge})", regex.IGNORECASE)


_MARKS = r"[\p{M}\u200c\u200d]"
_BETWEEN = regex.compile(r"[\s\-\u2010\u2011]+")


def _never(sentence: str, start: int, end: int) -> bool:
    return False


def _in_either_form(word: str) -> str:
    """A pattern for a word with its accents composed or not, and its apostrophes of any kind."""
    forms = {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}
    escaped = "|".join(map(regex.escape, sorted(forms)))
    return f"(?:{regex.sub(f'[{space_delimited.APOSTROPHES}]', f'[{space_delimited.APOSTROPHES}]', escaped)})"


_ENGLISH = WordRules()


def find_words(sentence: str) -> list[Word]:
    """The words of an English sentence, from left to right."""
    return _ENGLISH.find_words(sentence)


def is_content_word(text: str) -> bool:
    """Whether an English word is letters only, two or more, and no stop word."""
    return _ENGLISH.is_content_word(text)


def _read_words(path: Path) -> frozenset[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8, one word a line") from None
    return frozenset(unicodedata.normalize("NFC", line.strip()).casefold() for line in lines if line.strip())


def match_case(candidate: str, word: str) -> str:
    """The candidate in the case of the word it replaces: lower, UPPER or Title; a mixed word (iPhone) asks for none."""
    if word.islower():
        return candidate.lower()
    if word.isupper():
        return candidate.upper()
    if word.istitle():
        return candidate[:1].upper() + candidate[1:].lower()
    return candidate

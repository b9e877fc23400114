"""What a word is, and which words may be replaced, by language; chinese.py holds what is Chinese about it.

An English word is a run of letters, digits and underscores, with the apostrophes inside it; it is named by its
character offsets in the sentence as it was written, so that whatever replaces it leaves all other characters alone.
Hyphens part words.
A word may be replaced if it is letters only, at least two of them, and not a stop word (the rule of the authors'
script). Four kinds of word stay that the script would replace: "don't" and its kin, which are one word here, and the
stump before a detached "n't" ("ca n't", as SST-2 writes it), for either could turn a denial into its opposite; Roman
numerals; and the parts of a compound ("well-intentioned"), which mean nothing by themselves.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from augment import chinese
from augment.choices import Choices
from glue_tasks import UserError

_APOSTROPHES = "'\u2019\u02bc"
_WORD_CHARACTER = r"[\w\u0300-\u036f]"  # the second part: accents written as characters of their own
_WORD = re.compile(rf"{_WORD_CHARACTER}+(?:[{_APOSTROPHES}]{_WORD_CHARACTER}+)*")
_ROMAN_NUMERAL = re.compile(r"X{0,3}(?:IX|IV|V?I{0,3})")  # of popes and wars: a number, as digits are
_BEFORE_HYPHEN = re.compile(rf"-{_WORD_CHARACTER}")
_AFTER_HYPHEN = re.compile(rf"{_WORD_CHARACTER}-$")
_DETACHED_NOT = re.compile(rf"\s*\bn[{_APOSTROPHES}]t\b", re.IGNORECASE)

# After NLTK's English list, which the authors use, with what that list lacks: all modal verbs, more prepositions,
# conjunctions and denials, and the codes by which treebank text such as SST-2 writes brackets ("-lrb-").
_STOP_WORDS = """
    a an the this that these those such same own other another each every either both all any some few more most much
    many several less least enough

    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves one ones oneself someone somebody something anyone anybody
    anything everyone everybody everything

    who whom whose which what when where why how whoever whatever whichever whenever wherever

    am is are was were be been being has have had having do does did doing done
    can could may might must shall should will would ought let lets

    no not nor none nobody nothing nowhere never neither cannot without hardly barely scarcely rarely seldom
    ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn wasn weren won wouldn
    aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt shouldnt wasnt werent wont wouldnt

    and but or if because as until while although though unless whether since than so yet
    of at by for with about against between into through during before after above below to from up down in out on off
    over under upon onto within among amongst toward towards via per along across around behind beneath beside besides
    beyond despite except near like

    again further then once here there too very just only now also even ever else rather quite

    ll re ve em til tis twas
    lrb rrb lsb rsb lcb rcb
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


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
    stop_words: frozenset[str] = STOP_WORDS  # case-folded
    kept: frozenset[str] = frozenset()  # case-folded; words that a label hangs on
    letters_only: bool = True

    @classmethod
    def of(cls, choices: Choices) -> "WordRules":
        """Raises UserError if a file of words cannot be read."""
        built_in = STOP_WORDS if choices.language == "en" else chinese.STOP_WORDS
        return cls(
            choices.language,
            built_in if choices.stop_words is None else _read_words(choices.stop_words),
            frozenset() if choices.keep_words is None else _read_words(choices.keep_words),
            choices.letters_only,
        )

    def find_words(self, sentence: str) -> list[Word]:
        """The words of a sentence, from left to right."""
        spans = chinese.split(sentence) if self.language == "zh" else _split_english(sentence)
        words = []
        for start, end, stays in spans:
            text = sentence[start:end]
            words.append(Word(start, end, text, not stays and self.is_content_word(text)))
        return words

    def is_content_word(self, text: str) -> bool:
        """Letters only, two or more, no stop word; in Chinese, Han characters that deny nothing and are no number.

        It holds for words that are replaced and for what replaces them: a function word in place of a noun or an
        adjective breaks the sentence, and "no" or "never" its label.
        """
        # Composed, "é" is one letter; as two characters, the accent is none.
        composed = unicodedata.normalize("NFC", text)
        has_its_letters = chinese.is_content(composed) if self.language == "zh" else self._is_english(composed)
        if not has_its_letters:
            return False
        folded = composed.casefold()
        return composed.lower() not in self.stop_words and folded not in self.stop_words and folded not in self.kept

    def is_part(self, text: str, begins: bool) -> bool:
        """Whether a piece of a vocabulary can be part of a content word, or its beginning.

        No English word begins with a stop word: where a masked LM fills in "the", it hardly means "theology".
        """
        if self.language == "zh":
            return chinese.is_part(text)
        return self._is_letters(text) and not (begins and text.casefold() in self.stop_words)

    def _is_english(self, composed: str) -> bool:
        return len(composed) > 1 and self._is_letters(composed) and "\u02bc" not in composed

    def _is_letters(self, text: str) -> bool:
        return text.isalpha() if self.letters_only else text.isalnum()


_ENGLISH = WordRules()


def find_words(sentence: str) -> list[Word]:
    """The words of an English sentence, from left to right."""
    return _ENGLISH.find_words(sentence)


def is_content_word(text: str) -> bool:
    """Whether an English word is letters only, two or more, and no stop word."""
    return _ENGLISH.is_content_word(text)


def _split_english(sentence: str) -> Iterator[tuple[int, int, bool]]:
    """Start, end, and whether the word stays for what stands beside it or because it is a Roman numeral."""
    for match in _WORD.finditer(sentence):
        is_stump = _DETACHED_NOT.match(sentence, match.end()) is not None
        in_compound = _BEFORE_HYPHEN.match(sentence, match.end()) or _AFTER_HYPHEN.search(
            sentence, max(0, match.start() - 2), match.start()
        )
        yield match.start(), match.end(), bool(is_stump or in_compound or _ROMAN_NUMERAL.fullmatch(match.group()))


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

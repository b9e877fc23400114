"""What a word is, and which words may be replaced.

A word is a run of letters, digits and underscores, with the apostrophes inside it; it is named by its character offsets
in the sentence as it was written, so that whatever replaces it leaves all other characters alone. Hyphens part words.
A word may be replaced if it is letters only, at least two of them, and not a stop word (the rule of the authors'
script). Four kinds of word stay that the script would replace: "don't" and its kin, which are one word here, and the
stump before a detached "n't" ("ca n't", as SST-2 writes it), for either could turn a denial into its opposite; Roman
numerals; and the parts of a compound ("well-intentioned"), which mean nothing by themselves.
"""

import re
import unicodedata
from dataclasses import dataclass

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


def find_words(sentence: str) -> list[Word]:
    """The words of an English sentence, from left to right."""
    words = []
    for match in _WORD.finditer(sentence):
        text = match.group()
        is_stump = _DETACHED_NOT.match(sentence, match.end()) is not None
        in_compound = _BEFORE_HYPHEN.match(sentence, match.end()) or _AFTER_HYPHEN.search(
            sentence, max(0, match.start() - 2), match.start()
        )
        kept = is_stump or in_compound or _ROMAN_NUMERAL.fullmatch(text)
        replaceable = is_content_word(text) and not kept
        words.append(Word(match.start(), match.end(), text, replaceable))
    return words


def is_content_word(text: str) -> bool:
    """Letters only, two or more, not a stop word. It holds for words that are replaced and for what replaces them:
    a function word in place of a noun or an adjective breaks the sentence, and "no" or "never" its label."""
    # Composed, "é" is one letter; as two characters, the accent is none.
    composed = unicodedata.normalize("NFC", text)
    return len(composed) > 1 and composed.isalpha() and "\u02bc" not in composed and composed.lower() not in STOP_WORDS


def match_case(candidate: str, word: str) -> str:
    """The candidate in the case of the word it replaces: lower, UPPER or Title; a mixed word (iPhone) asks for none."""
    if word.islower():
        return candidate.lower()
    if word.isupper():
        return candidate.upper()
    if word.istitle():
        return candidate[:1].upper() + candidate[1:].lower()
    return candidate

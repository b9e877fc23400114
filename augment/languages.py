"""Of which languages words are found, and by what: Chinese by a dictionary (`chinese.py`), others by spaces
(`space_delimited.py`)."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from glue_tasks import UserError

# Languages whose words stand between spaces and can be exchanged one for one, with Unicode's name of their script.
SCRIPTS = {
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "nb", "nn", "ca", "ro"), "Latin"),
    **dict.fromkeys(("pl", "cs", "sk", "sl", "hr", "lv", "lt", "id", "ms", "sw"), "Latin"),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk"), "Cyrillic"),
    **dict.fromkeys(("hi", "mr", "ne"), "Devanagari"),
    **dict.fromkeys(("ar", "fa", "ur"), "Arabic"),
    **{"bn": "Bengali", "gu": "Gujarati", "pa": "Gurmukhi", "el": "Greek", "he": "Hebrew", "hy": "Armenian"},
}
_NO_SPACES = "writes no spaces between words, and there is no rule here that finds them"
_ENDINGS = "joins particles and endings to its words, which one word cannot be exchanged without"
_REFUSED = {
    **{"ja": ("Japanese", _NO_SPACES), "th": ("Thai", _NO_SPACES), "lo": ("Lao", _NO_SPACES)},
    **{"km": ("Khmer", _NO_SPACES), "my": ("Burmese", _NO_SPACES), "bo": ("Tibetan", _NO_SPACES)},
    **{"ko": ("Korean", _ENDINGS), "tr": ("Turkish", _ENDINGS), "fi": ("Finnish", _ENDINGS)},
    **{"hu": ("Hungarian", _ENDINGS), "et": ("Estonian", _ENDINGS), "ta": ("Tamil", _ENDINGS)},
    "vi": ("Vietnamese", "writes spaces between syllables and not between words"),
}


def check_language(language: str, has_stop_words: bool) -> None:
    """Raises UserError if there is no rule for the words of a language, or no list of those never to be touched."""
    if language in _REFUSED:
        name, reason = _REFUSED[language]
        raise UserError(f"{name} ({language}) {reason}; train without augmentation, or on text augmented elsewhere")
    if language != "zh" and language not in SCRIPTS:
        raise UserError(
            f"there is no rule for the words of the language {language!r}; there is one for zh, {', '.join(SCRIPTS)}"
        )
    if language not in ("en", "zh") and not has_stop_words:
        raise UserError(
            f"there is no built-in list of words never to be touched for the language {language!r}, and a text without "
            'its "not" has another label; name such a list, one word a line, with --stop-words of python -m augment'
        )


def check_script(language: str, texts: Iterable[str], whose: str) -> None:
    """Raises UserError if most letters of the texts are of another script than the language's."""
    found: Counter[str] = Counter()
    for letter, count in Counter(letter for text in texts for letter in text).items():
        if letter.isalpha():
            found[unicodedata.name(letter, "").split(" ")[0]] += count
    kana = found["HIRAGANA"] + found["KATAKANA"]
    if language == "zh" and 10 * kana > found.total():
        check_language("ja", False)
    script = "CJK" if language == "zh" else SCRIPTS[language].upper()
    if 2 * found[script] >= found.total():
        return
    ((most, count),) = found.most_common(1)
    raise UserError(
        f"{whose} is in the language {language!r} by its entry, and {count / found.total():.0%} of the letters of its "
        f'first rows are {most.capitalize()}; name their language in a task file, such as language = "hi"'
    )

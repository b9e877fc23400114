"""English words, numbers and punctuation marks of a text by the rules of the Penn Treebank.

Source: Robert MacIntyre's tokenizer.sed (Penn Treebank, 1995), with what NLTK's `word_tokenize` does beside it, since
CMRC 2018 is scored with that: typographic quotation marks and dashes, runs of dots, `*`, numbers with a comma or colon.
Left out is its sentence splitter, which needs a trained model: a full stop inside the text stays with its word.
"""

import re

# Applied one after another: each puts spaces where a token begins or ends. The order counts, since later rules see
# the spaces of earlier ones.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Opening quotation marks: typographic ones anywhere, straight ones at the start, after a space or a bracket.
        (r"[«“‘„]|`+", r" \g<0> "),
        (r'^"', "``"),
        (r"``", " `` "),
        (r"""([ (\[{<])(?:"|'')""", r"\1 `` "),
        (r"(?i)(?<!\w)'(?!(?:re|ve|ll|[mtsdn])\b)(?=\w)", "' "),
        # A full stop ends the text, perhaps before brackets and quotation marks; any other belongs to its word.
        (r"""(?<=[^.])\.([\])}>"'»”’ ]*)\s*$""", r" . \1 "),
        (r"([:,])(\D)", r" \1 \2"),  # not in 10:30 or 100,000; of two commas only the first, as there
        (r"[:,]$", r" \g<0> "),
        (r"\.{2,}", r" \g<0> "),
        (r"[;@#$%&?!*]", r" \g<0> "),
        (r"(?<=[^'])' ", " ' "),
        (r"[\]\[(){}<>]", r" \g<0> "),
        (r"--|[–—]", r" \g<0> "),
        (r"\A|\Z|\s+", " "),
        # The quotation marks that are left close.
        (r"[»”’]", r" \g<0> "),
        (r"''|\"", " '' "),
        # Possessives and contractions are words of their own.
        (r"(?<=[^' ])('[sSmMdD]|') ", r" \1 "),
        (r"(?<=[^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r" \1 "),
        (r"(?i)\b(can)(not)\b", r" \1 \2 "),
        (r"(?i)\b(d)('ye)\b", r" \1 \2 "),
        (r"(?i)\b(gim|lem)(me)\b", r" \1 \2 "),
        (r"(?i)\b(gon)(na)\b", r" \1 \2 "),
        (r"(?i)\b(got)(ta)\b", r" \1 \2 "),
        (r"(?i)\b(more)('n)\b", r" \1 \2 "),
        (r"(?i)\b(wan)(na)(?=\s)", r" \1 \2 "),
        (r"(?i) ('t)(is)\b", r" \1 \2 "),
        (r"(?i) ('t)(was)\b", r" \1 \2 "),
    )
)


def words(text: str) -> list[str]:
    """The tokens of a text, in order. Straight double quotation marks become `` and '', as in the Treebank."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.split()

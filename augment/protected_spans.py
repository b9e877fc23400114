"""What in a text is not natural language and never touched: tags, code, placeholders, addresses; for any language.

Here are those with a form of their own, also where spaces are inside them or none around. Whether a run of characters
between two spaces is an ordinary word is for the languages that have spaces (`space_delimited.py`).
"""

import re

import regex

PLACEHOLDER = "\0"  # in place of each protected character

_ADDRESSES = r"""
    | (?: [a-z][a-z0-9+.-]*:// | www\. | mailto: ) [\x21-\x7e]+
    | [a-z0-9_.+-]++ @ [a-z0-9-]+ (?: \. [a-z0-9-]+ )+
    | [@＠] [\w.-]+
"""
_PROTECTED = r"""
    < (script | style | code | pre) \b [^<>]* > .*? </ \1 >
    | <!-- .*? -->
    | < [/!?%]? [a-z] [^<>]* >
    | \[ (math | tex | latex | code | url | img) \] .*? \[/ \2 \]
    | \[ [^\[\]\s]+ \]
    | (?-i: \[ [A-Z] [A-Z_ -]* \] )
    | ``` .*? ```
    | (?<! ` ) ` (?! [`\s] ) [^`\n]* (?<! [`\s] ) ` (?! ` )
    # Entities of quotation marks, dashes and spaces part words; others, such as &amp;, join them.
    | & (?: quot | nbsp | [lr][ds]quo | [mn]dash | hellip | [lg]t | [lr]aquo | \#34 | \#160 ) ;
"""
_SPANS = regex.compile(_PROTECTED, regex.VERBOSE | regex.DOTALL | regex.IGNORECASE)
_BRACES = regex.compile(r"\{[^{}]*\}")
_NESTED = 8  # braces within braces, as in JSON and LaTeX

# Searched first: most sentences hold none of these.
_MAY_HOLD_SPANS = re.compile(r"[<`\[&]")
_MAY_HOLD_UNSPACED = re.compile(r"[<`\[&@＠#＃_/\\.:]")

# A line with two of these or more, and so many in a long one, is code or a formula: a call, an index, an operator, the
# end of a statement.
_CHARACTERS_A_SIGN = 60
_SIGN_OF_CODE = regex.compile(
    r"\w\((?!e?s\))|\w\[|[=!<>:+*/-]=|=>|->|&&|\|\||::|\s[=+^%]\s|[{};]\s*$|^\s*(?://|#include|\$ )"
)
_MAY_BE_CODE = re.compile(r"[=(;{:|]")
_LINE = regex.compile(r"[^\n]+")

# Where no space parts an address from what follows it, and for what Chinese texts mark in ways of their own: topics
# between two signs, and words marked by underscores.
_UNSPACED = regex.compile(
    _PROTECTED
    + _ADDRESSES
    + r"""
    | & \#? \w+ ;
    | [#＃] (?: [^#＃\s]{1,60} [#＃] | \w+ )
    | _ [^_\n]{1,60} _
    | [a-z]: [/\\] [\w./\\-]+
    | [a-z0-9_.~-]* [/\\] [a-z0-9_./\\-]+
    | (?: [a-z0-9_-]+ | [^\W a-z0-9_]+ ) \. [a-z] [a-z0-9]{0,5} (?! [a-z0-9] )
    """,
    regex.VERBOSE | regex.DOTALL | regex.IGNORECASE,
)


def mask(sentence: str, has_spaces: bool) -> str:
    """The sentence with `PLACEHOLDER` for each protected character. has_spaces: whether spaces part its words."""
    if has_spaces and _MAY_BE_CODE.search(sentence):
        sentence = _LINE.sub(_mask_if_code, sentence)
    if "{" in sentence:
        for _ in range(_NESTED):  # the innermost first
            sentence = _BRACES.sub(_masked, sentence)
    may_hold, spans = (_MAY_HOLD_SPANS, _SPANS) if has_spaces else (_MAY_HOLD_UNSPACED, _UNSPACED)
    return spans.sub(_masked, sentence) if may_hold.search(sentence) else sentence


def _masked(match: regex.Match[str]) -> str:
    return PLACEHOLDER * len(match.group())


def _mask_if_code(match: regex.Match[str]) -> str:
    line = match.group()
    signs = len(_SIGN_OF_CODE.findall(line))
    return _masked(match) if signs > 1 and signs * _CHARACTERS_A_SIGN >= len(line) else line

"""Text of data, settings and models, as a page can show it: whatever it holds, it stays text."""

import re
from typing import Any

from markupsafe import Markup, escape

# C0 and C1 controls, DEL, and the halves of surrogate pairs, which no file can hold.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # marks of the direction of writing


def visible(text: str) -> str:
    """Control characters as pictures (U+2400 and on), the others without a meaning as their code."""
    return _CONTROLS.sub(lambda found: _picture(ord(found[0])), text)


def without_directions(text: str) -> str:
    """`visible`, and marks of direction as their codes: for a picture, where they cannot be isolated."""
    return _DIRECTIONS.sub(lambda found: f"[U+{ord(found[0]):04X}]", visible(text))


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def isolated(text: Any) -> Markup:
    """Text of data for HTML: escaped, its controls visible, and its direction kept from what is around it."""
    return Markup("<bdi>{}</bdi>").format(escape(visible(str(text))))


def finalize(value: Any) -> Any:
    """What a template prints: plain text never has a control character."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

"""The direction of a line, and its order from left to right where the layout engine knows none.

This is the part of the Unicode bidirectional algorithm (UAX #9) that a short label needs: words of
one direction inside a line of the other. Numbers read from left to right, also among Arabic.
"""

import re
import unicodedata
from typing import Literal

Direction = Literal["ltr", "rtl"]

_KINDS = {
    "L": "L",
    "R": "R",
    "AL": "R",
    **dict.fromkeys(("EN", "AN", "ES", "ET", "CS"), "L"),  # numbers and what stands in them
}
_NEUTRAL = "N"
_STRETCH = {"L": re.compile("L(?:[LN]*L)?"), "R": re.compile("R(?:[RN]*R)?")}


def direction_of(text: str) -> Direction:
    """Return the direction of the first letter that has one, left to right without any.

    >>> direction_of("12 cats"), direction_of("12 قطط"), direction_of("…")
    ('ltr', 'rtl', 'ltr')
    """
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"


def visual_order(text: str) -> str:
    """Return a line's characters from left to right.

    >>> visual_order("אבג 0.91") == "0.91 גבא"
    True
    >>> visual_order("a אבג b") == "a גבא b"
    True
    """
    backwards = direction_of(text) == "rtl"
    kinds = "".join(_KINDS.get(unicodedata.bidirectional(char), _NEUTRAL) for char in text)
    line = text
    for stretch in _STRETCH["L" if backwards else "R"].finditer(kinds):
        start, end = stretch.span()
        line = line[:start] + line[start:end][::-1] + line[end:]
    return line[::-1] if backwards else line

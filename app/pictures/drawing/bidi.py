"""The direction of a line, and its visual order for a layout engine that ignores direction.

Both follow the Unicode bidirectional algorithm (UAX #9), implemented by the package `python-bidi`.
"""

from typing import Literal

from bidi import get_base_level, get_display  # type: ignore[import-untyped]

Direction = Literal["ltr", "rtl"]


def direction_of(text: str) -> Direction:
    """Return the direction of the first letter that has one, `ltr` if there is no such letter.

    >>> direction_of("12 cats"), direction_of("12 قطط"), direction_of("…")
    ('ltr', 'rtl', 'ltr')
    """
    # The package raises an error for an empty text.
    return "rtl" if text and get_base_level(_encodable(text)) else "ltr"


def visual_order(text: str) -> str:
    """Return the characters of a line in the order in which they are drawn from left to right.

    Brackets are not mirrored.

    >>> visual_order("אבג 0.91") == "0.91 גבא"
    True
    >>> visual_order("a אבג b") == "a גבא b"
    True
    """
    return str(get_display(_encodable(text)))


def _encodable(text: str) -> str:
    # The package converts text to UTF-8, which fails for half a surrogate pair.
    return text.encode("utf-8", "backslashreplace").decode()

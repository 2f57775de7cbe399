r"""Cleans, measures, shortens and draws one line of text in any script.

A line is split where the font changes. A character without a font is written as its escape, such as
`\u732b`, so that no empty box is drawn. In a line with several fonts and both directions, words may
appear in the wrong order.
"""

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from PIL import ImageDraw, ImageFont

from app.pictures.drawing.bidi import Direction, direction_of, visual_order
from app.pictures.drawing.fonts import Fonts, Typeface
from app.pictures.drawing.palette import Colour

MAX_CHARACTERS = 300
"""Further characters are dropped without a sign: no picture has room for them in one line."""

ELLIPSIS = "…"
_LEFT_TO_RIGHT = "\u200e"  # invisible; keeps the backslash before an escape in Arabic text
_JOINERS = ("\u200c", "\u200d")


def one_line(text: str) -> str:
    r"""Return a text without line breaks, control characters and runs of spaces.

    Control characters become spaces. Invisible characters are removed, because they could reverse a
    line; the joiners stay, because some scripts need them.

    >>> one_line("  a\tbig\r\n cat\x00\u202e ")
    'a big cat'
    """
    kept = (
        " " if _is_space(character) else character
        for character in text[:MAX_CHARACTERS]
        if not _is_invisible(character)
    )
    # Joiners at either end join nothing.
    return " ".join("".join(kept).split()).strip("".join(_JOINERS))


def _is_space(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zs", "Zl", "Zp")


def _is_invisible(character: str) -> bool:
    if character in _JOINERS:
        return False
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


@dataclass(frozen=True)
class _Run:
    """A part of a line in one font.

    Attributes:
        direction: `None` for a layout engine without directions; the text is in visual order then.
    """

    text: str
    font: ImageFont.FreeTypeFont
    direction: Direction | None

    @property
    def length(self) -> float:
        """In pixels."""
        return self.font.getlength(self.text, direction=self.direction)


class Typesetter:
    """Measures and draws lines at one font size. Create one for each drawing; not thread-safe.

    Args:
        size: pixels per em, 1 or more.
    """

    def __init__(self, fonts: Fonts, size: int) -> None:
        self._fonts = fonts
        self._size = size
        self._sized: dict[Typeface, ImageFont.FreeTypeFont] = {}
        ascent, descent = self._at_size(fonts.typefaces[0]).getmetrics()
        self.ascent = ascent
        self.line_height = ascent + descent

    def width(self, text: str) -> int:
        """Return the width of a line in pixels."""
        return math.ceil(sum(run.length for run in self._runs(text)))

    def shortened(self, text: str, tail: str, max_width: int) -> str | None:
        """Return the text and its tail; a text that is too wide is cut and ends with …

        Args:
            max_width: of text and tail together, in pixels.

        Returns:
            `None` if not even one character, the ellipsis and the tail fit.
        """
        if self.width(text + tail) <= max_width:
            return text + tail
        # The width grows with the text, so a binary search finds the longest text that fits.
        cuts = [cut for cut in range(1, len(text)) if _may_cut(text, cut)]
        fitting, too_wide = 0, len(cuts)
        while fitting < too_wide:
            middle = (fitting + too_wide) // 2
            if self.width(_cut(text, cuts[middle]) + tail) <= max_width:
                fitting = middle + 1
            else:
                too_wide = middle
        return _cut(text, cuts[fitting - 1]) + tail if fitting else None

    def draw(
        self, draw: ImageDraw.ImageDraw, left: int, baseline: int, text: str, ink: Colour
    ) -> None:
        """Write a line, from its left end on its baseline."""
        pen = float(left)
        for run in self._runs(text):
            draw.text(
                (pen, baseline), run.text, ink, run.font, anchor="ls", direction=run.direction
            )
            pen += run.length

    def _runs(self, text: str) -> list[_Run]:
        """Return the parts of a line by font, from left to right."""
        if self._fonts.layout is ImageFont.Layout.BASIC:
            seen = visual_order("".join(char for char in text if char not in _JOINERS))
            return [_Run(run, font, None) for run, font in self._by_font(seen)]
        direction = direction_of(text)
        runs = [_Run(run, font, direction) for run, font in self._by_font(text)]
        return runs if direction == "ltr" else runs[::-1]

    def _by_font(self, text: str) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
        for typeface, group in groupby(self._with_typefaces(text), key=lambda pair: pair[1]):
            yield "".join(piece for piece, _ in group), self._at_size(typeface)

    def _with_typefaces(self, text: str) -> Iterator[tuple[str, Typeface]]:
        current = first = self._fonts.typefaces[0]
        for character in text:
            if not (_leans_on_others(character) and current.covers(character)):
                if character in _JOINERS:
                    continue
                current = self._fonts.covering(character) or first
            yield character if current.covers(character) else self._escaped(character), current

    def _escaped(self, character: str) -> str:
        if self._fonts.layout is ImageFont.Layout.BASIC:  # this layout draws the invisible mark
            return escape(character)
        return _LEFT_TO_RIGHT + escape(character)

    def _at_size(self, typeface: Typeface) -> ImageFont.FreeTypeFont:
        if typeface not in self._sized:
            self._sized[typeface] = typeface.at_size(self._size, self._fonts.layout)
        return self._sized[typeface]


def escape(character: str) -> str:
    r"""Return the Python escape of a character.

    >>> escape("猫"), escape("😀")
    ('\\u732b', '\\U0001f600')
    """
    code_point = ord(character)
    return f"\\u{code_point:04x}" if code_point < 0x10000 else f"\\U{code_point:08x}"


def _leans_on_others(character: str) -> bool:
    """Return whether a character should use the font of the character before it."""
    return character in _JOINERS or unicodedata.category(character).startswith("M")


def _may_cut(text: str, cut: int) -> bool:
    """Return whether a cut separates no accent and no joined character."""
    return not _leans_on_others(text[cut]) and text[cut - 1] not in _JOINERS


def _cut(text: str, cut: int) -> str:
    return text[:cut].rstrip() + ELLIPSIS

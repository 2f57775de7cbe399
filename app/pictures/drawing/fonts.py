"""The fonts for labels, in order of preference, and the characters that each covers.

FiraGO is part of the package `pymupdf-fonts`: Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari,
Thai and Georgian. Fonts installed on the machine cover the rest. The reasons are in
`docs/adr/0010-fonts-for-labels.md`.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pymupdf_fonts  # type: ignore[import-untyped]
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from PIL import ImageFont, features

_CARRIED = "figo"  # FiraGO Regular
_OF_THE_MACHINE = (
    "DejaVuSans.ttf",  # Armenian, symbols, faces
    "NotoSansCJK-Regular.ttc",  # Chinese, Japanese, Korean
    "unifont.otf",  # every character of the basic plane, coarse
    "unifont_upper.otf",  # emoji and the scripts of the upper planes, coarse
)


@dataclass(frozen=True, eq=False)
class Typeface:
    """One font, at any size.

    Args:
        source: the bytes of the font file; of a collection, the first font is used.
    """

    source: bytes

    @cached_property
    def covered(self) -> frozenset[int]:
        """The code points that the font has a glyph for. Reading them takes up to 0.2 s, once."""
        with TTFont(io.BytesIO(self.source), fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap())

    def covers(self, character: str) -> bool:
        """Return whether the font has a glyph for a character."""
        return ord(character) in self.covered

    def at_size(self, size: int, layout: ImageFont.Layout) -> ImageFont.FreeTypeFont:
        """Return the font at a size in pixels per em, 1 or more."""
        return ImageFont.truetype(io.BytesIO(self.source), size, layout_engine=layout)


@dataclass(frozen=True)
class Fonts:
    """Typefaces in order of preference.

    Args:
        layout: Raqm joins Arabic letters and orders right-to-left text; the basic layout does
            neither.
    """

    typefaces: tuple[Typeface, ...]
    layout: ImageFont.Layout

    def load(self) -> None:
        """Read the characters of each typeface, which also imports the modules of fontTools."""
        # Any character makes `covered` read the whole font.
        for face in self.typefaces:
            face.covers(" ")

    def covering(self, character: str) -> Typeface | None:
        """Return the first typeface that has a glyph for a character."""
        return next((face for face in self.typefaces if face.covers(character)), None)


def load_fonts() -> Fonts:
    """Return the bundled font and the fonts found on the machine.

    >>> all(load_fonts().covering(letter) for letter in "aλжעجहก")
    True
    """
    carried = Typeface(bytes(pymupdf_fonts.myfont(_CARRIED)))
    has_raqm = features.check("raqm")
    layout = ImageFont.Layout.RAQM if has_raqm else ImageFont.Layout.BASIC
    return Fonts((carried, *_of_the_machine()), layout)


def _of_the_machine() -> Iterator[Typeface]:
    for name in _OF_THE_MACHINE:
        try:
            path = ImageFont.truetype(name).path  # Pillow searches the system's font folders
        except OSError:
            continue
        if isinstance(path, str):
            yield Typeface(Path(path).read_bytes())

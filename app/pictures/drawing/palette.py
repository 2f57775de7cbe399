"""Colours and line patterns that distinguish entities, also for colour-blind readers.

The eight colours are those of M. Petroff, "Accessible Color Sequences for Data Visualization"
(arXiv:2107.02270). The author searched for sequences that people like and that stay distinct under
simulated protanopia, deuteranopia and tritanopia. After eight entities, the colours repeat with
another line pattern.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Colour = tuple[int, int, int]
"""Red, green and blue of sRGB, 0…255."""

Pattern = Literal["solid", "dashed", "dotted", "dash-dotted"]
"""The pattern of a line."""

COLOURS: tuple[Colour, ...] = (
    (24, 69, 251),  # blue
    (255, 94, 2),  # orange
    (134, 200, 221),  # light blue
    (201, 31, 22),  # red
    (173, 173, 125),  # sand
    (200, 73, 169),  # pink
    (101, 99, 100),  # grey
    (87, 141, 255),  # sky blue
)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Style:
    """The appearance of one entity.

    Attributes:
        colour: of its lines and of the background of its labels.
        ink: black or white, the one with more contrast to the colour: at least 4.5 to 1 for every
            colour. Used for the text and for the rim between lines and picture.
    """

    colour: Colour
    ink: Colour
    pattern: Pattern


def style_of(index: int) -> Style:
    """Return the style of the entity at an index, 0 or more.

    The first 32 differ; then they repeat.

    >>> style_of(1)
    Style(colour=(255, 94, 2), ink=(0, 0, 0), pattern='solid')
    >>> style_of(9).pattern, style_of(32) == style_of(0)
    ('dashed', True)
    """
    colour = COLOURS[index % len(COLOURS)]
    pattern = PATTERNS[index // len(COLOURS) % len(PATTERNS)]
    ink = max(BLACK, WHITE, key=lambda candidate: contrast(candidate, colour))
    return Style(colour, ink, pattern)


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours, 1…21, as WCAG 2.2 defines it.

    >>> contrast(BLACK, WHITE)
    21.0
    """
    dark, light = sorted((_relative_luminance(one), _relative_luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _relative_luminance(colour: Colour) -> float:
    red, green, blue = (_linear(channel / 255) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

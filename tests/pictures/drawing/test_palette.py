"""Colours of boxes differ for every kind of colour vision, and their labels are readable."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.pictures.drawing.palette import BLACK, COLOURS, PATTERNS, WHITE, Colour, contrast, style_of

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (IEEE TVCG 15, 2009), severity 1.0; for linear RGB.
VISION = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def cielab(colour: Colour, vision: str) -> NDArray[np.float64]:
    """Return how a kind of vision perceives a colour: CIE L*a*b* under D65."""
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.0890]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_differ_for_every_kind_of_colour_vision(vision: str) -> None:
    """A difference of 2.3 is just noticeable side by side; distant lines need much more."""
    seen = [cielab(colour, vision) for colour in COLOURS]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) > 15


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_black_or_white_is_readable_on_any_colour(colour: Colour) -> None:
    """WCAG 2.2 requires 4.5 to 1; so the palette may change without changing the ink."""
    assert max(contrast(BLACK, colour), contrast(WHITE, colour)) >= 4.5


def test_every_style_uses_the_ink_with_more_contrast() -> None:
    """It then has at least 4.5 to 1."""
    styles = [style_of(index) for index in range(len(COLOURS))]
    assert all(contrast(style.ink, style.colour) >= 4.5 for style in styles)


def test_as_many_entities_differ_as_there_are_colours_times_patterns() -> None:
    """Further entities are distinguished by their labels."""
    styles = {style_of(index) for index in range(len(COLOURS) * len(PATTERNS))}
    assert len(styles) == 32

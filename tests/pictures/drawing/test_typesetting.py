"""Labels are one line, in any script, and are cut where they are too long."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from app.pictures.drawing.bidi import visual_order
from app.pictures.drawing.fonts import Fonts
from app.pictures.drawing.labels import Layout, lay_out
from app.pictures.drawing.palette import BLACK
from app.pictures.drawing.typesetting import MAX_CHARACTERS, Typesetter, one_line
from app.pictures.marks import Mark
from harness.marks import CARRIED, FONTS


def texts(layout: Layout) -> list[str]:
    return [label.text for label in layout.labels]


def written(text: str, fonts: Fonts) -> NDArray[np.uint8]:
    image = Image.new("RGB", (300, 40), "white")
    Typesetter(fonts, 20).draw(ImageDraw.Draw(image), 5, 28, text, BLACK)
    return np.asarray(image)


def ink_of_columns(pixels: NDArray[np.uint8]) -> list[float]:
    """Return the share of ink in stripes of 20 pixels, which kerning does not change much."""
    ink = 255.0 - pixels[:, :, 0]
    stripes: list[float] = ink.reshape(len(ink), -1, 20).mean(axis=(0, 2)).tolist()
    return [stripe / 255 for stripe in stripes]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("a cat", "a cat"),
        (" a\n big\r\n\tcat ", "a big cat"),
        ("a\x00cat\x7f\x85", "a cat"),
        ("a\u2028cat\u3000", "a cat"),
        ("cat\u202egod\u2069\ufeff", "catgod"),
        ("", "#1"),
        (None, "#1"),
        (" \n\u200b", "#1"),
        ("\u200d", "#1"),
        ("❤\ufe0f", "❤"),
    ],
)
def test_a_label_is_one_line_and_shows_the_entitys_number_without_a_phrase(
    label: str | None, shown: str
) -> None:
    """Control characters would break or reverse the line; an empty label would be useless."""
    mark = Mark(label, ((10, 60, 300, 290),))
    assert texts(lay_out([mark], (300, 300), FONTS)) == [shown]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ((), ["cat", "cat"]),
        ((0.914, None), ["cat 0.91", "cat"]),
        ((None,), ["cat", "cat"]),
        ((math.nan, math.inf), ["cat", "cat"]),
        ((1.0, 0.0), ["cat 1.00", "cat 0.00"]),
    ],
)
def test_each_box_shows_its_own_score(scores: tuple[float | None, ...], shown: list[str]) -> None:
    """A score that is not a number is not shown."""
    mark = Mark("cat", ((10, 60, 100, 90), (10, 160, 100, 190)), scores)
    assert texts(lay_out([mark], (300, 300), CARRIED)) == shown


@pytest.mark.parametrize("width", [60, 100, 300])
def test_a_long_label_is_cut_at_its_end_and_keeps_its_score(width: int) -> None:
    """The start of a phrase is most informative, and the score cannot be guessed."""
    mark = Mark("the snowman that warms itself by the fire " * 5, ((0, 50, 30, 60),), (0.5,))
    (label,) = lay_out([mark], (width, 100), CARRIED).labels
    assert label.text.startswith("the")
    assert label.text.endswith("… 0.50")


@given(st.text("ab \u0301ก\u200dא猫", min_size=1, max_size=40).map(one_line), st.integers(0, 200))
def test_a_shortened_text_fits_and_is_a_prefix(text: str, max_width: int) -> None:
    """No accent is separated from its letter."""
    typesetter = Typesetter(CARRIED, 12)
    shortened = typesetter.shortened(text, "", max_width)
    if shortened is None or shortened == text:
        return
    assert typesetter.width(shortened) <= max_width
    kept = shortened.removesuffix("…")
    assert text.startswith(kept)
    assert not text[len(kept) :].startswith(("\u0301", "\u200d"))


def test_a_label_of_a_million_characters_is_cut_before_it_is_measured() -> None:
    """Measuring it would take seconds."""
    assert len(one_line("a" * 1_000_000)) == MAX_CHARACTERS


SCRIPTS = {
    "Latin": "éßőŁğ",
    "Vietnamese": "ườế",
    "Greek": "λθώ",
    "Cyrillic": "жйї",
    "Arabic": "قطةپ",
    "Hebrew": "חתול",
    "Devanagari": "हिक्ष",
    "Thai": "หิมะ",
    "Georgian": "თოვ",
    "punctuation": "…“”—€",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_bundled_font_covers(script: str) -> None:
    """These scripts work on machines without fonts."""
    assert all(CARRIED.covering(character) for character in SCRIPTS[script])


@pytest.mark.parametrize(
    ("character", "escape"), [("猫", "\\u732b"), ("😀", "\\U0001f600"), ("\ud800", "\\ud800")]
)
def test_a_character_without_a_font_is_written_as_its_escape(character: str, escape: str) -> None:
    """An empty box would not show which character it is; half a surrogate pair has no glyph."""
    assert np.array_equal(written(f"a {character}", CARRIED), written(f"a {escape}", CARRIED))


def test_a_joiner_without_a_glyph_is_not_escaped() -> None:
    """Joiners are invisible."""
    assert np.array_equal(written("猫\u200d猫", CARRIED), written("猫猫", CARRIED))


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("a cat", "a cat"),
        ("אבג", "גבא"),
        ("אבג 0.91", "0.91 גבא"),
        ("אב cat dog ג", "ג cat dog בא"),
        ("a אב גד b", "a דג בא b"),
        ("אב 5% -7 גד", "דג 7- 5% בא"),
        ("قط ١٢ 3,5", "3,5 ١٢ طق"),
        ("אב\ud800", "ud800\\בא"),
        ("", ""),
    ],
)
def test_right_to_left_text_is_put_into_visual_order(logical: str, visual: str) -> None:
    """Pillow's basic layout draws from left to right for every script."""
    assert visual_order(logical) == visual


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow has no Raqm to compare with")
@pytest.mark.parametrize("text", ["חתול", "חתול 0.91", "cat חתול", "חתול big cat 5"])
def test_both_layout_engines_draw_hebrew_equally(text: str) -> None:
    """Hebrew letters do not join, so only their order matters."""
    basic = Fonts(CARRIED.typefaces, ImageFont.Layout.BASIC)
    raqm = Fonts(CARRIED.typefaces, ImageFont.Layout.RAQM)
    assert ink_of_columns(written(text, basic)) == pytest.approx(
        ink_of_columns(written(text, raqm)), abs=0.02
    )


def test_without_raqm_no_invisible_character_is_drawn() -> None:
    """The basic layout would add the width of its glyph."""
    basic = Fonts(CARRIED.typefaces, ImageFont.Layout.BASIC)
    assert np.array_equal(written("a\u200db猫", basic), written("ab\\u732b", basic))

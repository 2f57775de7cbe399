"""Annotated pictures have readable labels that do not overlap, and contain no metadata."""

import io
import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from app.errors import ImageTooLarge
from app.pictures.drawing.bidi import visual_order
from app.pictures.drawing.draw import draw_marks
from app.pictures.drawing.fonts import Fonts, load_fonts
from app.pictures.drawing.labels import MAX_LABELS, Layout, lay_out
from app.pictures.drawing.palette import BLACK, COLOURS, PATTERNS, WHITE, Colour, contrast, style_of
from app.pictures.drawing.placement import LabelBox, Rectangle, place
from app.pictures.drawing.typesetting import MAX_CHARACTERS, Typesetter, one_line
from app.pictures.encode import encode_picture
from app.pictures.marks import Mark, MediaType

FONTS = load_fonts()
CARRIED = Fonts(FONTS.typefaces[:1], FONTS.layout)  # present on every machine
MEDIA_TYPES: tuple[MediaType, ...] = ("image/png", "image/jpeg", "image/webp")

coordinates = st.floats(-50, 450) | st.integers(-20, 420).map(float)
wild = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -1e300])
labels = st.none() | st.text(max_size=60)
sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


def marks_of(edges: st.SearchStrategy[float]) -> st.SearchStrategy[list[Mark]]:
    boxes = st.lists(st.tuples(edges, edges, edges, edges), max_size=4).map(tuple)
    scores = st.lists(st.none() | st.floats(), max_size=4).map(tuple)
    return st.lists(st.builds(Mark, labels, boxes, scores), max_size=12)


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def is_inside(rectangle: Rectangle, size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = rectangle
    return 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]


def texts(layout: Layout) -> list[str]:
    return [label.text for label in layout.labels]


def changed(before: Image.Image, after: Image.Image) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = np.any(np.asarray(before) != np.asarray(after), axis=2)
    return different


# Layout


@pytest.mark.slow
@given(marks_of(coordinates), sizes)
def test_labels_lie_in_the_picture_and_do_not_overlap(
    marks: list[Mark], size: tuple[int, int]
) -> None:
    """A label that is cut off or hidden cannot be read."""
    rectangles = [label.rectangle for label in lay_out(marks, size, CARRIED).labels]
    assert all(is_inside(rectangle, size) for rectangle in rectangles)
    assert not any(overlap(*pair) for pair in combinations(rectangles, 2))


@given(marks_of(coordinates), sizes)
def test_the_same_input_gives_the_same_layout(marks: list[Mark], size: tuple[int, int]) -> None:
    """So two runs can be compared byte by byte."""
    assert lay_out(marks, size, CARRIED) == lay_out(marks, size, CARRIED)


@pytest.mark.slow
@settings(max_examples=50)
@given(marks_of(wild), sizes)
def test_drawing_accepts_any_box(marks: list[Mark], size: tuple[int, int]) -> None:
    """A bad model may return infinite, inverted, empty and outlying boxes."""
    assert draw_marks(Image.new("RGB", size), marks, CARRIED).size == size


def hundred_marks() -> list[Mark]:
    generator = np.random.default_rng(7)
    corners = generator.uniform(0, 900, (100, 2))
    extents = generator.uniform(20, 200, (100, 2))
    edges = np.hstack([corners, corners + extents]).tolist()
    return [Mark(f"entity {number}", (tuple(box),), (0.5,)) for number, box in enumerate(edges)]


def test_a_hundred_entities_all_get_a_label_at_one_megapixel() -> None:
    """The picture has enough room for them."""
    layout = lay_out(hundred_marks(), (1000, 1000), CARRIED)
    assert len(layout.labels) == 100


def test_thousands_of_boxes_are_drawn_but_only_the_first_are_labelled() -> None:
    """The time to place labels grows faster than their number."""
    marks = [Mark("x", ((10.0, 10.0, 60.0, 60.0),) * 3000)]
    layout = lay_out(marks, (2000, 2000), CARRIED)
    assert len(layout.boxes) == 3000
    assert len(layout.labels) == MAX_LABELS


@pytest.mark.parametrize(
    ("box", "visible"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((30, 40, 10, 20), (10, 20, 30, 40)),
        ((-50, -50, 500, 500), (0, 0, 100, 50)),
        ((90, 40, 120, 70), (90, 40, 100, 50)),
        ((10, 10, 10, 10), (10, 10, 11, 11)),
        ((100, 50, 100, 50), (99, 49, 100, 50)),
        ((-math.inf, 0, math.inf, 10), (0, 0, 100, 10)),
        ((101, 0, 120, 50), None),
        ((0, -20, 50, -1), None),
        ((0, 0, math.nan, 10), None),
        ((math.nan, 0, 10, 10), None),
    ],
)
def test_only_the_part_of_a_box_in_the_picture_is_drawn(
    box: tuple[float, float, float, float], visible: Rectangle | None
) -> None:
    """A box on the border is drawn; a box wholly outside is not."""
    boxes = lay_out([Mark("a", (box,))], (100, 50), CARRIED).boxes
    assert [shown.rectangle for shown in boxes] == ([] if visible is None else [visible])


def test_lines_and_letters_grow_with_the_picture() -> None:
    """Letters for 640×480 pixels would be invisible in a picture of 48 megapixels."""
    layouts = [lay_out([], size, CARRIED) for size in ((32, 32), (640, 480), (8000, 6000))]
    assert [layout.line_width for layout in layouts] == [1, 2, 28]
    assert [layout.font_size for layout in layouts] == [8, 13, 165]


# Placement

small = st.integers(1, 9)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[LabelBox], tuple[int, int]]:
    width, height = draw(st.integers(8, 20)), draw(st.integers(8, 20))
    crowd = []
    for _ in range(draw(st.integers(1, 12))):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        box = x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))
        crowd.append(LabelBox(draw(small), draw(small), box))
    return crowd, (width, height)


@given(crowds())
def test_a_label_is_omitted_only_if_no_free_position_is_left(
    crowd: tuple[list[LabelBox], tuple[int, int]],
) -> None:
    """The test tries every position of the picture."""
    wanted, (width, height) = crowd
    taken: list[Rectangle] = []
    for label, found in zip(wanted, place(wanted, (width, height), 1), strict=True):
        everywhere = product(range(width - label.width + 1), range(height - label.height + 1))
        places = ((x, y, x + label.width, y + label.height) for x, y in everywhere)
        free = any(not any(overlap(spot, other) for other in taken) for spot in places)
        assert (found is not None) == free
        if found is not None:
            taken.append(found)


def test_a_label_touches_its_box_unless_another_label_is_there() -> None:
    """A label in the same rows or the same columns does not block it."""
    boxes = (10, 30, 40, 90), (60, 30, 90, 90), (10, 60, 40, 90)
    places = place([LabelBox(20, 10, box) for box in boxes], (100, 100), 2)
    assert places == [(10, 20, 30, 30), (60, 20, 80, 30), (10, 50, 30, 60)]


STRIPS = [LabelBox(30, 40, (100, 15, 110, 25))] * 3  # as high as the picture


def test_a_label_without_room_at_its_box_is_as_near_as_possible() -> None:
    """A longer distance means a longer line between label and box."""
    assert place(STRIPS, (140, 40), 2) == [(110, 0, 140, 40), (70, 0, 100, 40), (40, 0, 70, 40)]


def test_a_label_moves_farther_away_to_keep_corners_visible() -> None:
    """A hidden box is worse than a distant label."""
    hidden_else = LabelBox(1, 1, (52, 18, 58, 22))
    assert place([*STRIPS, hidden_else], (140, 40), 2)[2] == (0, 0, 30, 40)


def test_a_label_keeps_the_corners_of_boxes_visible_if_possible() -> None:
    """Viewers recognise a box by its corners."""
    box, below = (20, 30, 90, 80), (30, 22, 60, 28)  # a small box right above the first
    first, _ = place([LabelBox(40, 10, box), LabelBox(5, 5, below)], (100, 100), 2)
    assert first == (20, 80, 60, 90)


# Text


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


def written(text: str, fonts: Fonts) -> NDArray[np.uint8]:
    image = Image.new("RGB", (300, 40), "white")
    Typesetter(fonts, 20).draw(ImageDraw.Draw(image), 5, 28, text, BLACK)
    return np.asarray(image)


def ink_of_columns(pixels: NDArray[np.uint8]) -> list[float]:
    """Return the share of ink in stripes of 20 pixels, which kerning does not change much."""
    ink = 255.0 - pixels[:, :, 0]
    stripes: list[float] = ink.reshape(len(ink), -1, 20).mean(axis=(0, 2)).tolist()
    return [stripe / 255 for stripe in stripes]


# Colours

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


# Drawing


@pytest.mark.parametrize("index", range(0, 32, 8))
def test_only_the_edges_of_a_box_are_drawn(index: int) -> None:
    """Gaps of a pattern show the rim's colour, so that every edge is an unbroken line."""
    outside: list[Mark] = [Mark(None, ())] * index
    plain = Image.new("RGB", (400, 300), (120, 130, 140))
    drawn = draw_marks(plain, [*outside, Mark("x", ((50, 60, 350, 250),))], CARRIED)
    difference = changed(plain, drawn)
    assert difference[60, 50:350].all()
    assert difference[249, 50:350].all()
    assert difference[60:250, 50].all()
    assert difference[60:250, 349].all()
    assert not difference[70:240, 60:340].any()
    assert not difference[255:].any()


def test_the_given_picture_is_not_changed() -> None:
    """The caller may still use it."""
    plain = Image.new("RGB", (100, 100))
    draw_marks(plain, [Mark("x", ((10, 30, 90, 90),))], CARRIED)
    assert not changed(plain, Image.new("RGB", (100, 100))).any()


def test_a_label_far_from_its_box_is_connected_by_a_line() -> None:
    """Twenty labels cannot all touch the same box."""
    marks = [Mark("a label", ((190, 190, 210, 210),))] * 20
    label = max(
        lay_out(marks, (400, 400), CARRIED).labels, key=lambda one: abs(one.rectangle[1] - 200)
    )
    plain = Image.new("RGB", (400, 400), "white")
    difference = changed(plain, draw_marks(plain, marks, CARRIED))
    top, bottom = label.rectangle[1::2]
    between = range(bottom, 190) if bottom < 190 else range(210, top)
    assert len(between) > 10
    assert all(difference[row].any() for row in between)


def test_a_picture_too_small_for_letters_shows_only_its_boxes() -> None:
    """Parts of letters would only hide the picture."""
    plain = Image.new("RGB", (8, 8), "white")
    marks = [Mark("a cat", ((1, 1, 7, 7),))]
    assert not lay_out(marks, plain.size, CARRIED).labels
    assert changed(plain, draw_marks(plain, marks, CARRIED)).sum() == 20


# Files


def gradient(size: tuple[int, int]) -> Image.Image:
    rows, columns = np.mgrid[: size[1], : size[0]]
    channels = np.stack([rows * 3, columns * 3, rows + columns], axis=2) % 200
    return Image.fromarray(channels.astype(np.uint8))


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 31), (64, 48), (1, 40)])
def test_an_encoded_file_shows_the_picture(media_type: MediaType, size: tuple[int, int]) -> None:
    """Odd sizes are not multiples of a JPEG's blocks. PNG is exact."""
    picture = gradient(size)
    again = Image.open(io.BytesIO(encode_picture(picture, media_type)))
    difference = np.abs(np.asarray(again.convert("RGB"), float) - np.asarray(picture, float))
    assert (Image.MIME[again.format or ""], again.size) == (media_type, size)
    assert difference.mean() <= (0 if media_type == "image/png" else 4)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_the_file_contains_no_metadata(media_type: MediaType) -> None:
    """A picture may contain its location, names and a camera's serial number."""
    picture = gradient((20, 20))
    exif = Image.Exif()
    exif[0x010E] = "secret"
    picture.info = {
        "exif": exif.tobytes(),
        "icc_profile": b"secret profile",
        "comment": b"secret",
        "xmp": b"secret",
        "dpi": (77, 77),
    }
    data = encode_picture(picture, media_type)
    again = Image.open(io.BytesIO(data))
    assert b"secret" not in data
    assert not again.getexif()
    assert set(again.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", *WEBP_DEFAULTS}
    assert picture.info["dpi"] == (77, 77)


WEBP_DEFAULTS = ("loop", "background")  # Pillow reports them for every file


@pytest.mark.parametrize(("media_type", "side"), [("image/jpeg", 65500), ("image/webp", 16383)])
def test_a_side_longer_than_the_format_allows_raises_our_error(
    media_type: MediaType, side: int
) -> None:
    """The client can request PNG instead."""
    assert encode_picture(Image.new("RGB", (side, 1)), media_type)
    with pytest.raises(ImageTooLarge, match=str(side)):
        encode_picture(Image.new("RGB", (side + 1, 1)), media_type)

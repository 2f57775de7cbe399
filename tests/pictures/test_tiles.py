"""Tiles cover the picture evenly, and are cut as if each were a picture of its own."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from app.checkpoint.picture_size import PICTURE_BYTES
from app.errors import ImageTooLarge, InvalidImage
from app.pictures.cut import cut_tiles
from app.pictures.decode import decode_picture
from app.pictures.tiles import (
    MAX_TILES,
    Tile,
    TileOptions,
    auto_tiles,
    check_tiles,
    count_tiles,
    plan_tiles,
    to_picture,
)
from harness.formats import ALL_FILES, exif, file_of
from harness.pictures import noise, picture_file

MAX_PIXELS = 10**6

lengths = st.integers(1, 700)
options = st.builds(TileOptions, st.integers(32, 800), st.integers(32, 800), st.floats(0.0, 0.5))
unit = st.floats(0.0, 1.0)


def spans(tiles: list[Tile], axis: int) -> list[tuple[int, int]]:
    """Return the different starts and ends of tiles along x (0) or y (1), sorted."""
    return sorted({(tile[axis], tile[axis + 2]) for tile in tiles})


@given(lengths, lengths, options)
def test_every_pixel_is_in_a_tile_and_every_tile_in_the_picture(
    width: int, height: int, options: TileOptions
) -> None:
    assume(count_tiles(width, height, options) <= MAX_TILES)
    tiles = plan_tiles(width, height, options)
    covered = np.zeros((height, width), bool)
    for left, upper, right, lower in tiles:
        covered[upper:lower, left:right] = True
    assert covered.all()
    check_tiles(tiles, width, height)
    size = min(width, options.width), min(height, options.height)
    assert {(right - left, lower - upper) for left, upper, right, lower in tiles} == {size}


@given(lengths, lengths, options)
def test_tiles_form_a_grid_row_by_row_as_many_as_counted(
    width: int, height: int, options: TileOptions
) -> None:
    assume(count_tiles(width, height, options) <= MAX_TILES)
    tiles = plan_tiles(width, height, options)
    grid = [
        (left, upper, right, lower)
        for upper, lower in spans(tiles, 1)
        for left, right in spans(tiles, 0)
    ]
    assert tiles == grid
    assert count_tiles(width, height, options) == len(tiles)


@given(lengths, options)
def test_tiles_are_evenly_spread_from_edge_to_edge_with_the_overlap(
    length: int, options: TileOptions
) -> None:
    found = spans(plan_tiles(length, 1, options), 0)
    assert (found[0][0], found[-1][1]) == (0, length)
    steps = [second[0] - first[0] for first, second in pairwise(found)]
    assert max(steps, default=1) - min(steps, default=1) <= 1
    for first, second in pairwise(found):
        assert first[1] - second[0] >= options.overlap * options.width


@given(lengths, options)
def test_one_tile_less_would_not_do(length: int, options: TileOptions) -> None:
    """Each tile is as much work for the model as a whole picture."""
    num_tiles = count_tiles(length, 1, options)
    if num_tiles == 2:
        assert options.width < length
    if num_tiles > 2:
        shared = (options.width * (num_tiles - 1) - length) / (num_tiles - 2)
        assert shared < math.ceil(options.overlap * options.width)


def test_an_absurd_number_of_tiles_is_counted_but_not_planned() -> None:
    tiny = TileOptions(32, 32, 0.5)
    assert count_tiles(10**6, 10**6, tiny) == 62_499**2
    with pytest.raises(ValueError, match="at most 512"):
        plan_tiles(10**6, 10**6, tiny)
    assert len(plan_tiles(32 + 511 * 16, 32, tiny)) == MAX_TILES


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((31, 32, 0.0), "at least 32"),
        ((32, 31, 0.0), "at least 32"),
        ((32, 32, -0.1), "overlap"),
        ((32, 32, 0.51), "overlap"),
        ((32, 32, float("nan")), "overlap"),
    ],
)
def test_options_outside_their_ranges_are_rejected(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TileOptions(*values)


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_automatic_tiles_are_few_for_pictures_of_any_size(width: int, height: int) -> None:
    chosen = auto_tiles(width, height)
    assert (chosen is None) == (max(width, height) <= 448)
    if chosen:
        assert 2 <= count_tiles(width, height, chosen) <= 25


@given(st.integers(1000, 20_000), st.floats(0.2, 1.0))
def test_automatic_tiles_contain_small_objects_whole_and_large_enough(
    width: int, aspect: float
) -> None:
    """An object of 0.03 of the longer side is at least a tenth of its tile, one of 0.06 fits."""
    height = max(1, round(width * aspect))
    chosen = auto_tiles(width, height)
    assert chosen
    assert 0.03 * width >= 0.11 * chosen.width
    for axis in (0, 1):
        for first, second in pairwise(spans(plan_tiles(width, height, chosen), axis)):
            assert first[1] - second[0] >= 0.06 * width


@given(lengths, lengths, options, st.tuples(unit, unit, unit, unit), st.data())
def test_a_box_of_a_tile_is_at_the_same_pixels_of_the_picture(
    width: int,
    height: int,
    options: TileOptions,
    box: tuple[float, float, float, float],
    data: st.DataObject,
) -> None:
    assume(count_tiles(width, height, options) <= MAX_TILES)
    tile = data.draw(st.sampled_from(plan_tiles(width, height, options)))
    left, upper, right, lower = tile
    found = to_picture(box, tile, width, height)
    assert all(0 <= edge <= 1 for edge in found)
    for axis, (start, end, length) in enumerate([(left, right, width), (upper, lower, height)]):
        for edge in (axis, axis + 2):
            in_tile = (found[edge] * length - start) / (end - start)
            assert in_tile == pytest.approx(box[edge], abs=1e-9)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_tile_of_the_whole_picture_has_the_pixels_of_the_picture(name: str) -> None:
    picture = decode_picture(ALL_FILES[name], max_pixels=MAX_PIXELS)
    whole = (0, 0, picture.width, picture.height)
    [pixels] = cut_tiles(ALL_FILES[name], [whole], max_pixels=MAX_PIXELS)
    assert pixels == picture.pixels


def test_a_tile_has_the_pixels_of_a_file_with_this_part_only() -> None:
    """Pixels outside the tile do not blend into its edges."""
    image = noise((640, 480))
    tiles = plan_tiles(640, 480, TileOptions(300, 200, 0.25))
    cut = cut_tiles(file_of(image, "PNG"), tiles, max_pixels=MAX_PIXELS)
    parts = [file_of(image.crop(tile), "PNG") for tile in tiles]
    assert list(cut) == [decode_picture(part, max_pixels=MAX_PIXELS).pixels for part in parts]


def rotated() -> bytes:
    """Return a JPEG that is 60×40 pixels in the file and 40×60 upright; its lower half is white."""
    image = Image.new("RGB", (60, 40), "black")
    image.paste("white", (32, 0, 60, 40))
    return file_of(image, "JPEG", exif=exif(6), quality=100)


def half_transparent() -> bytes:
    """Return a black PNG of 40×60 pixels whose lower half is transparent."""
    image = Image.new("RGBA", (40, 60), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 32, 40, 60))
    return file_of(image, "PNG")


@pytest.mark.parametrize("make", [rotated, half_transparent])
def test_tiles_are_parts_of_the_upright_picture_on_white(make: Callable[[], bytes]) -> None:
    upper, lower = cut_tiles(make(), [(0, 0, 40, 24), (0, 40, 40, 60)], max_pixels=MAX_PIXELS)
    assert len(upper) == len(lower) == PICTURE_BYTES
    assert np.frombuffer(upper, np.uint8).max() < 8
    assert np.frombuffer(lower, np.uint8).min() > 247


@pytest.mark.parametrize(
    "tile", [(0, 0, 321, 240), (0, 0, 320, 241), (-1, 0, 320, 240), (9, 0, 9, 240), (0, 9, 320, 8)]
)
def test_a_tile_outside_the_picture_is_a_defect_of_the_caller(tile: Tile) -> None:
    """Pillow would fill it with black, in which the model could find objects."""
    with pytest.raises(ValueError, match="not inside 320 × 240 pixels"):
        cut_tiles(picture_file(), [tile], max_pixels=MAX_PIXELS)


def test_an_invalid_picture_is_refused_as_when_it_is_decoded() -> None:
    with pytest.raises(InvalidImage):
        cut_tiles(b"no picture", [(0, 0, 1, 1)], max_pixels=MAX_PIXELS)
    with pytest.raises(ImageTooLarge):
        cut_tiles(picture_file(), [(0, 0, 1, 1)], max_pixels=1000)

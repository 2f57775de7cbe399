"""Plans overlapping tiles of a picture, in which small objects are large enough for the model."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from app.pictures.marks import Box, scale_box

Tile = tuple[int, int, int, int]
"""Left, upper, right and lower edge, in pixels of the upright picture."""

MAX_TILES = 512
"""Largest number of tiles in a plan, so that a picture of many pixels does not fill the memory."""

MIN_SIDE = 32
MAX_OVERLAP = 0.5

# The model squashes every picture to 224 × 224 pixels, and finds objects of a tenth to half of a
# side. Five tiles along the longer side make an object of 0.03 of that side 0.12 of a tile. The
# overlap contains each object of up to 0.06 of that side whole in at least one tile, and nine
# tenths of one of 0.08. Measured with the embedded checkpoint on 126 objects of 0.03 to 0.08 of the
# shorter side of pictures of 1600 × 1200: in the tile that shows the object best, the recall at IoU
# 0.5 is 0.83 with four tiles along (12 in all), 0.98 with five (20) and 1 with six (30). It is 0 in
# the whole picture.
_AUTO_TILES_ALONG = 5
_AUTO_OVERLAP = 0.25
_AUTO_MIN_SIDE = 224  # below the model's input size, tiles contain no more detail
_LARGEST_WITHOUT_TILES = 448  # the model sees at least half of each side's pixels


@dataclass(frozen=True)
class TileOptions:
    """The size of tiles and how much neighbours share.

    Attributes:
        width: of a tile, in pixels, at least 32. Tiles are never larger than the picture.
        height: of a tile, in pixels, at least 32.
        overlap: least share of a tile's side that neighbours have in common, 0…0.5.

    Raises:
        ValueError: a value is outside its range.
    """

    width: int
    height: int
    overlap: float

    def __post_init__(self) -> None:
        if min(self.width, self.height) < MIN_SIDE:
            raise ValueError(f"a tile is at least {MIN_SIDE} × {MIN_SIDE} pixels")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(f"the overlap of tiles is 0 to {MAX_OVERLAP}")


def auto_tiles(width: int, height: int) -> TileOptions | None:
    """Return tiles that make small objects visible; `None` if the picture itself is small.

    Their number does not grow with the picture: it is at most 25.

    >>> options = auto_tiles(1600, 1200)
    >>> options, count_tiles(1600, 1200, options)
    (TileOptions(width=401, height=401, overlap=0.25), 20)
    """
    longest = max(width, height)
    if longest <= _LARGEST_WITHOUT_TILES:
        return None
    steps = _AUTO_TILES_ALONG - 1
    # Each of the overlaps is rounded up by less than a pixel, which the numerator makes up for.
    side = math.ceil((longest + steps) / (1 + steps * (1 - _AUTO_OVERLAP)))
    side = max(side, _AUTO_MIN_SIDE)
    return TileOptions(side, side, _AUTO_OVERLAP)


def count_tiles(width: int, height: int, options: TileOptions) -> int:
    """Return the number of tiles that cover a picture, at once for any size.

    >>> count_tiles(10_000, 10_000, TileOptions(32, 32, 0.5))
    389376
    """
    columns = _count_along(width, options.width, options.overlap)
    return columns * _count_along(height, options.height, options.overlap)


def plan_tiles(width: int, height: int, options: TileOptions) -> list[Tile]:
    """Return tiles that cover a picture, row by row, evenly spread from edge to edge.

    Raises:
        ValueError: there would be more than `MAX_TILES`; see `count_tiles`.

    >>> plan_tiles(100, 50, TileOptions(60, 64, 0.25))
    [(0, 0, 60, 50), (40, 0, 100, 50)]
    """
    num_tiles = count_tiles(width, height, options)
    if num_tiles > MAX_TILES:
        raise ValueError(f"{num_tiles} tiles; a plan has at most {MAX_TILES}")
    columns = _spans(width, options.width, options.overlap)
    return [
        (left, upper, right, lower)
        for upper, lower in _spans(height, options.height, options.overlap)
        for left, right in columns
    ]


def check_tiles(tiles: Iterable[Tile], width: int, height: int) -> None:
    """Check that each tile has pixels and lies inside a picture of `width` × `height`.

    Raises:
        ValueError: a tile does not.
    """
    for left, upper, right, lower in tiles:
        if not (0 <= left < right <= width and 0 <= upper < lower <= height):
            tile = left, upper, right, lower
            raise ValueError(f"the tile {tile} is not inside {width} × {height} pixels")


def to_picture(box: Box, tile: Tile, width: int, height: int) -> Box:
    """Return a box that is normalised to a tile, normalised to its picture of `width` × `height`.

    >>> to_picture((0.0, 0.5, 1.0, 1.0), (40, 0, 100, 50), 200, 100)
    (0.2, 0.25, 0.5, 0.5)
    """
    left, upper, right, lower = tile
    x0, y0, x1, y1 = scale_box(box, right - left, lower - upper)
    return (left + x0) / width, (upper + y0) / height, (left + x1) / width, (upper + y1) / height


def _count_along(length: int, side: int, overlap: float) -> int:
    if length <= side:
        return 1
    return 1 + math.ceil((length - side) / (side - math.ceil(overlap * side)))


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Return start and end of each tile along one side of the picture."""
    side = min(side, length)
    gaps = _count_along(length, side, overlap) - 1
    # Distances between starts differ by one pixel at most, because they are integers.
    starts = [i * (length - side) // gaps for i in range(gaps)] + [length - side]
    return [(start, start + side) for start in starts]

"""Cuts tiles from a picture and squashes each to the model's input size."""

from collections.abc import Sequence

from app.pictures.decode import decode_upright, squash
from app.pictures.tiles import Tile, check_tiles


def cut_tiles(data: bytes, tiles: Sequence[Tile], *, max_pixels: int) -> tuple[bytes, ...]:
    """Return the pixels of each tile of the upright picture: 224×224×3 bytes, RGB, row by row.

    A tile has the pixels that a file with only this part of the picture would have. The file is
    decoded once, and only one tile at full size is in memory at a time.

    Raises:
        RequestError: the same as from `decode_picture`.
        ValueError: a tile is not inside the picture.
    """
    upright = decode_upright(data, max_pixels=max_pixels)
    check_tiles(tiles, upright.width, upright.height)
    # `resize` has a parameter for a box, but would blend in pixels from outside the tile.
    return tuple(squash(upright.crop(tile)) for tile in tiles)

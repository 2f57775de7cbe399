"""Picture processes cut tiles, within the limits that they have for decoding."""

import asyncio

import pytest
from PIL import Image

from app.pictures.cut import cut_tiles
from app.pictures.tiles import Tile, TileOptions, plan_tiles
from app.pictures.workers.messages import MAX_TILES_PER_JOB
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from harness.formats import exif, file_of, landscape
from harness.picture_pools import children, with_pool
from harness.pictures import picture_file

pytestmark = pytest.mark.processes


def test_tiles_are_cut_from_the_upright_picture_as_by_the_cutter() -> None:
    """The file is 60×40 pixels, the upright picture 40×60."""
    image = file_of(landscape(), "JPEG", exif=exif(6))
    tiles = [(0, 0, 40, 60), *plan_tiles(40, 60, TileOptions(32, 32, 0.25))]

    async def use(pool: PicturePool) -> None:
        decoded = await pool.decode(image)
        size = {"width": decoded.width, "height": decoded.height}
        cut = await pool.cut(image, tiles, **size)
        assert cut == cut_tiles(image, tiles, max_pixels=10**6)
        assert cut[0] == decoded.pixels
        assert len(set(cut)) == len(tiles) == 7

    with_pool(use)


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ([(0, 0, 320, 241)], "not inside 320 × 240"),
        ([(0, 0, 1, 1), (-1, 0, 9, 9)], "not inside 320 × 240"),
        ([], "0 tiles"),
        ([(0, 0, 9, 9)] * (MAX_TILES_PER_JOB + 1), "17 tiles"),
    ],
)
def test_an_impossible_cut_is_rejected_without_a_process(tiles: list[Tile], message: str) -> None:
    """The pool has not been entered, so a job would wait without end."""
    pool = PicturePool(Settings(picture_processes=1))
    cut = pool.cut(picture_file(), tiles, width=320, height=240)
    with pytest.raises(ValueError, match=message):
        asyncio.run(asyncio.wait_for(cut, timeout=20))


def test_the_largest_job_stays_within_the_limits() -> None:
    """All tiles are as large as the picture, and the picture as large as the limit."""
    image = file_of(Image.new("RGBA", (2000, 2000), (9, 9, 9, 99)), "PNG")
    whole = [(0, 0, 2000, 2000)] * MAX_TILES_PER_JOB

    async def use(pool: PicturePool) -> None:
        [before] = children()
        decoded = await pool.decode(image)
        cut = await pool.cut(image, whole, width=2000, height=2000)
        assert set(cut) == {decoded.pixels}
        assert children() == [before]

    with_pool(use, max_pixels=4_000_000)

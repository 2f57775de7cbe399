"""Pictures are opened in separate processes, so that a bad picture affects only itself."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Collection

import psutil
import pytest
from PIL import Image

from app.errors import ImageTooLarge, InvalidImage, RequestError, UnsupportedImageFormat
from app.pictures.decode import decode_picture
from app.pictures.marks import Mark
from app.pictures.workers import limits
from app.pictures.workers.messages import Describe, to_frame
from app.pictures.workers.pool import PicturePool
from harness.bombs import (
    gif_of_a_long_comment,
    jpeg_of_many_scans,
    jpeg_of_many_segments,
    png_of_many_chunks,
    tiff_of_a_large_tile,
    tiff_of_many_pages,
    tiff_of_many_planes,
    tiff_of_many_tags,
)
from harness.formats import ALL_FILES, file_of
from harness.mutants import mutants
from harness.picture_pools import children, with_pool
from harness.pictures import picture_file
from harness.waiting import eventually

pytestmark = pytest.mark.processes

PICTURE = picture_file()
ENDLESS = jpeg_of_many_scans(2000, 200_000)
MARK = Mark("a disc", ((40.0, 30.0, 160.0, 120.0),), (0.5,))


async def until_one_works(known: Collection[psutil.Process] = ()) -> psutil.Process:
    """Wait for a new picture process that has worked for a moment."""
    working: list[psutil.Process] = []

    def is_at_work() -> bool:
        others = [child for child in children() if child not in known]
        with contextlib.suppress(psutil.NoSuchProcess):  # the process has just exited
            working[:] = [child for child in others if sum(child.cpu_times()[:2]) > 0.5]
        return bool(working)

    assert await asyncio.to_thread(eventually, is_at_work)
    return working[0]


@pytest.mark.parametrize("max_pixels", [2**16, 10**9])
def test_a_pool_starts_with_the_smallest_and_the_largest_limit_of_pixels(max_pixels: int) -> None:
    """A picture process draws a picture of its own before it is ready."""

    async def use(pool: PicturePool) -> None:
        assert (await pool.decode(picture_file((64, 64)))).width == 64

    with_pool(use, max_pixels=max_pixels)


def test_a_picture_is_decoded_as_by_the_decoder() -> None:
    async def use(pool: PicturePool) -> None:
        decoded = await pool.decode(PICTURE)
        expected = decode_picture(PICTURE, max_pixels=10**7)
        assert (decoded.width, decoded.height, decoded.exif_orientation) == (320, 240, 1)
        assert decoded.pixels == expected.pixels
        through_jpeg = await pool.decode(PICTURE, jpeg_round_trip=True)
        assert through_jpeg.pixels != decoded.pixels
        assert (await pool.draw(PICTURE, [MARK], "image/webp", "pixel"))[8:12] == b"WEBP"

    with_pool(use)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"no picture", InvalidImage),
        (PICTURE[:-100], InvalidImage),
        (b"\xff\x0a" + bytes(20), UnsupportedImageFormat),
        (file_of(Image.new("1", (4000, 4000)), "PNG"), ImageTooLarge),
    ],
)
def test_an_error_of_a_picture_is_reported_by_its_process(
    image: bytes, error: type[RequestError]
) -> None:
    async def use(pool: PicturePool) -> None:
        with pytest.raises(error):
            await pool.decode(image)
        with pytest.raises(error):
            await pool.draw(image, [], "image/png", "pixel")
        with pytest.raises(error):
            await pool.cut(image, [(0, 0, 9, 9)], width=9, height=9)

    with_pool(use)


def test_as_many_pictures_as_processes_are_decoded_at_once() -> None:
    """The other pictures wait; none is lost."""

    async def use(pool: PicturePool) -> None:
        decoded = await asyncio.gather(*(pool.decode(PICTURE) for _ in range(40)))
        assert len(decoded) == 40
        assert len(children()) == 2

    with_pool(use, num_processes=2)


def test_a_picture_that_crashes_its_process_twice_is_rejected_and_others_are_served() -> None:
    """The picture exploits a bug in a decoder, so its client gets the error."""

    async def use(pool: PicturePool) -> None:
        doomed = asyncio.create_task(pool.decode(ENDLESS))
        first = await until_one_works()
        first.send_signal(signal.SIGSEGV)
        (await until_one_works([first])).send_signal(signal.SIGSEGV)
        assert (await pool.decode(PICTURE)).width == 320
        with pytest.raises(InvalidImage, match="within the limits"):
            await doomed
        assert (await pool.decode(PICTURE)).width == 320

    with_pool(use)


def test_a_picture_whose_process_was_killed_is_decoded_again() -> None:
    """The system kills processes when memory is short, even if others use it."""

    async def use(pool: PicturePool) -> None:
        assert (await pool.decode(PICTURE)).width == 320
        for child in children():
            child.kill()
        assert (await pool.decode(PICTURE)).width == 320

    with_pool(use)


def test_a_disconnected_client_does_not_stop_the_process() -> None:
    """Its picture is finished, then the same process serves others."""

    async def use(pool: PicturePool) -> None:
        [before] = children()
        left = asyncio.create_task(pool.decode(file_of(Image.new("RGB", (3000, 3000)), "PNG")))
        await asyncio.sleep(0)  # lets the task start
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert (await pool.decode(PICTURE)).width == 320
        assert children() == [before]

    with_pool(use)


def test_a_defect_of_ours_is_not_reported_as_an_invalid_picture() -> None:
    """A process that exits by itself has a bug."""

    async def use(pool: PicturePool) -> None:
        with pytest.raises(RuntimeError, match="exit code 1"):
            await pool.draw(PICTURE, [MARK], "image/gif", "pixel")  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="exit code 1"):  # the picture is 320 × 240
            await pool.cut(PICTURE, [(0, 0, 999, 999)], width=999, height=999)
        assert (await pool.decode(PICTURE)).width == 320

    with_pool(use)


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="the system keeps no limit")
def test_a_file_that_unpacks_to_gigabytes_is_rejected_within_the_memory_limit() -> None:
    """3 MB of the file contain 700 MB of zeros."""

    async def use(pool: PicturePool) -> None:
        with pytest.raises(InvalidImage):
            await pool.decode(tiff_of_a_large_tile(26_000))
        [child] = children()
        limit, _ = child.rlimit(psutil.RLIMIT_DATA)
        assert limit < 600 * 10**6
        assert child.memory_info().rss < limit

    with_pool(use, max_pixels=10**6)


@pytest.mark.parametrize(
    "bomb",
    [
        png_of_many_chunks(20_000),
        gif_of_a_long_comment(2_000_000),
        jpeg_of_many_segments(b"\xe1", 20_000),
        jpeg_of_many_segments(b"\xfe", 20_000),
        tiff_of_many_tags(1_000, 1_000_000),
        jpeg_of_many_scans(500, 10),
        tiff_of_a_large_tile(5_000),
        tiff_of_many_planes(60_000),
        tiff_of_many_pages(10_000, 5_000_000),
    ],
    ids=["chunks", "comment", "EXIF", "comments", "tags", "scans", "tile", "planes", "pages"],
)
def test_the_process_of_a_bomb_answers_and_stays_small(bomb: bytes) -> None:
    """Unpacked metadata cost no more than other contents of the file could."""

    async def use(pool: PicturePool) -> None:
        [before] = children()
        with contextlib.suppress(InvalidImage, UnsupportedImageFormat):
            await pool.decode(bomb)
        assert (await pool.decode(PICTURE)).width == 320
        assert children() == [before]
        assert before.memory_info().rss < 200 * 10**6

    with_pool(use)


@pytest.mark.large
def test_a_file_that_takes_hours_is_rejected_after_the_time_limit() -> None:
    """Each scan of a progressive JPEG takes a few bytes and is a pass over all pixels."""

    async def use(pool: PicturePool) -> None:
        [before] = children()
        with pytest.raises(InvalidImage, match="within the limits"):
            await pool.decode(ENDLESS)
        assert not before.is_running()
        assert (await pool.decode(PICTURE)).width == 320

    assert limits.PROCESSOR_S <= 20
    with_pool(use)


def test_the_output_of_decoders_is_discarded(capfd: pytest.CaptureFixture[str]) -> None:
    """Decoders in C print messages and parts of a picture to standard error."""
    broken = [
        mutant
        for name in ("LZW TIFF", "JPEG TIFF", "TIFF with metadata")
        for mutant in mutants(ALL_FILES[name], 30, "noisy")
    ]

    async def use(pool: PicturePool) -> None:
        await asyncio.gather(*(pool.decode(file) for file in broken), return_exceptions=True)

    with_pool(use)
    assert capfd.readouterr().err == ""


def test_all_processes_are_stopped_at_the_end() -> None:
    """This includes a process that is decoding."""

    async def use(pool: PicturePool) -> None:
        abandoned = asyncio.create_task(pool.decode(ENDLESS))
        await until_one_works()
        abandoned.cancel()

    with_pool(use, num_processes=2)
    assert children() == []


def test_a_picture_process_whose_parent_has_ended_logs_no_error() -> None:
    """As after Ctrl-C while a service starts: the first job has no reader."""
    command = [sys.executable, "-m", "app.pictures.workers.process", "1000000", "info", "json"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(to_frame(Describe()))
        process.stdin.flush()
        assert process.stderr.read() == b""
        process.stdin.close()

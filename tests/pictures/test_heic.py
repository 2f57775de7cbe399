"""HEIC needs an extra with safe libraries; without the extra, the error names it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.errors import InvalidImage
from app.pictures import heic
from app.pictures.decode import decode_picture
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from harness.formats import exif, file_of, landscape
from tests.pictures.test_decode import TURNS

WITHOUT = """
import sys
sys.modules["pillow_heif"] = None
from app.pictures.decode import decode_picture
try:
    decode_picture(sys.stdin.buffer.read(), max_pixels=10**6)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("orientation", TURNS)
def test_a_heic_picture_is_rotated_once(orientation: int) -> None:
    """Its container and its EXIF describe the same rotation."""
    turn = TURNS[orientation]
    stored = landscape() if turn is None else landscape().transpose(turn)
    file = file_of(stored, "HEIF", exif=exif(orientation), quality=95, chroma=444)
    picture = decode_picture(file, max_pixels=10**6)
    assert (picture.width, picture.height, picture.exif_orientation) == (60, 40, 1)
    difference = np.asarray(picture.upright).astype(int) - np.asarray(landscape())
    assert np.abs(difference).max() <= 8


@pytest.mark.processes
def test_a_picture_process_reads_heic() -> None:
    """The process is fully confined, although libde265 uses threads."""
    file = file_of(landscape(), "HEIF")

    async def use() -> None:
        async with PicturePool(Settings(picture_processes=1)) as pool:
            assert pool.abilities.heic
            decoded = await pool.decode(file)
            assert decoded.pixels == decode_picture(file, max_pixels=10**6).pixels

    asyncio.run(use())


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_heic_picture_cut_short_is_invalid(kept: float) -> None:
    """The error is not about an unaccepted format."""
    data = file_of(landscape(), "HEIF")
    with pytest.raises(InvalidImage):
        decode_picture(data[: int(len(data) * kept)], max_pixels=10**6)


@pytest.mark.processes
def test_without_the_extra_the_error_names_it() -> None:
    """The client can convert the picture, or the operator can install the extra."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        input=file_of(landscape(), "HEIF"),
        env=environment,
        capture_output=True,
        check=True,
    )
    assert result.stdout.decode().strip() == (
        "UnsupportedImageFormat HEIC is not accepted (the service was installed without its extra "
        "heic); accepted formats are JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF"
    )


@pytest.mark.parametrize(
    ("libheif", "libde265", "obstacle"),
    [
        ("1.22.1", "libde265 HEVC decoder, version 1.0.19", None),
        ("1.100.0", "libde265 HEVC decoder, version 1.1.0", None),
        (
            "1.22.0",
            "libde265 HEVC decoder, version 1.1.0",
            "libheif 1.22.0 has known vulnerabilities",
        ),
        (
            "1.23.0",
            "libde265 HEVC decoder, version 1.0.9",
            "libde265 1.0.9 has known vulnerabilities",
        ),
        ("1.23.0", "FFmpeg", "libde265 is missing"),
    ],
)
def test_libraries_with_known_vulnerabilities_are_not_used(
    libheif: str, libde265: str, obstacle: str | None
) -> None:
    found = heic.obstacle_of({"libheif": libheif, "decoders": {"libde265": libde265}})
    assert (found or "").startswith(obstacle or "")
    assert (found is None) == (obstacle is None)

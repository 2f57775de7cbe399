"""An encoded file shows the picture and contains no metadata."""

import io

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge
from app.pictures.encode import encode_picture
from app.pictures.marks import MediaType

MEDIA_TYPES: tuple[MediaType, ...] = ("image/png", "image/jpeg", "image/webp")


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

"""Makes picture files for tests."""

import io
import random

from PIL import Image, ImageDraw


def picture_file(
    size: tuple[int, int] = (320, 240), kind: str = "PNG", color: str = "gray"
) -> bytes:
    """Return a file with a red disc on a plain background."""
    image = Image.new("RGB", size, color)
    width, height = size
    ImageDraw.Draw(image).ellipse((width // 8, height // 8, width // 2, height // 2), fill="red")
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def noise(size: tuple[int, int]) -> Image.Image:
    """Return a picture of noise, which no encoder can compress."""
    width, height = size
    return Image.frombytes("RGB", size, random.Random(0).randbytes(width * height * 3))

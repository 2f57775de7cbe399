"""What cameras and files do to a picture: JPEG compression, blur and noise."""

import io
import random

import numpy as np
from PIL import Image, ImageFilter

DEGRADED_SHARE = 0.3
QUALITIES = (15, 55)
RADII = (0.002, 0.014)
DEVIATIONS = (5.0, 35.0)


def degraded(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture, or in three of ten cases one that is degraded in one way."""
    if rng.random() >= DEGRADED_SHARE:
        return picture
    match rng.choice(("jpeg", "blur", "noise")):
        case "jpeg":
            return through_jpeg(picture, rng.randint(*QUALITIES))
        case "blur":
            return blurred(picture, rng.uniform(*RADII))
        case _:
            return noisy(picture, rng.uniform(*DEVIATIONS), rng)


def through_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """Return the picture as a JPEG file of this quality, 0 to 100, has it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def blurred(picture: Image.Image, radius: float) -> Image.Image:
    """Blur with a Gaussian of this standard deviation, relative to the picture's longer side."""
    return picture.filter(ImageFilter.GaussianBlur(radius * max(picture.size)))


def noisy(picture: Image.Image, deviation: float, rng: random.Random) -> Image.Image:
    """Add Gaussian noise of this standard deviation, of 255, to each channel."""
    pixels = np.asarray(picture, dtype=np.float32)  # (H, W, 3)
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0.0, deviation, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8), "RGB")

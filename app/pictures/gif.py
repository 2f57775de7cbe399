"""Works around Pillow's error in GIF files whose first frame is a part of the picture."""

from PIL import Image
from PIL.GifImagePlugin import GifImageFile


def with_clear_border(image: GifImageFile) -> Image.Image:
    """Return the first frame, with the area that it does not cover made transparent.

    Pillow fills that area with the first colour of the palette.

    Args:
        image: already loaded.
    """
    box = image.dispose_extent
    if box is None or box == (0, 0, *image.size):
        return image
    clear = Image.new("RGBA", image.size)
    clear.paste(image.crop(box).convert("RGBA"), box)
    return clear

"""Imports and reads everything that decoding and drawing would otherwise load later.

A picture process loses the right to open files (`workers/confinement.py`), but Pillow imports some
of its modules only when the first file needs them.
"""

from typing import get_args

from PIL import (  # noqa: F401 - imported here because Pillow imports them late
    Image,
    ImageCms,
    ImageOps,
    ImagePalette,
    ImageSequence,
    MpoImagePlugin,
    TiffTags,
)

from app.pictures.drawing.annotator import Annotator
from app.pictures.encode import encode_picture
from app.pictures.marks import Mark, MediaType

_LETTERS = "aλжعजहก☺"
# More boxes than there are places next to one, so that labels are also placed away from it.
_CROWD = ((96.0, 96.0, 160.0, 160.0),) * 16


def preload(annotator: Annotator) -> None:
    """Import, read and warm up everything that a job may need."""
    Image.preinit()
    annotator.load_fonts()
    picture = Image.new("RGB", (256, 256))
    for media_type in get_args(MediaType):
        file = encode_picture(picture, media_type)
        annotator.annotate(file, [Mark(_LETTERS, _CROWD)], media_type, "pixel")

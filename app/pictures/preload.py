"""Everything that decoding and drawing import or read late, imported and read at once.

A picture process gives up opening files (`workers/confinement.py`), and Pillow imports some of its
parts only when the first file needs them.
"""

from typing import get_args

from PIL import (  # noqa: F401 - imported for those that import them later
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


def preload(annotator: Annotator) -> None:
    """Import, read and warm up all that a job may need."""
    Image.preinit()
    annotator.load_fonts()
    picture = Image.new("RGB", (64, 64))
    for media_type in get_args(MediaType):
        file = encode_picture(picture, media_type)
        annotator.annotate(file, [Mark(_LETTERS, ((8.0, 8.0, 56.0, 56.0),))], media_type, "pixel")

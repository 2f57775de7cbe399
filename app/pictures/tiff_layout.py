"""Reads from the tags of a TIFF page how it stores its samples."""

from dataclasses import dataclass

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.errors import InvalidImage

LOSSLESS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
"""No compression, LZW, deflate, PackBits, old deflate, LZMA and Zstandard return exact samples."""

WEBP = frozenset({34927, 50001})
"""The numbers of WebP. Pillow knows one of them, but its libtiff has no decoder for it."""

_OTHER_COMPRESSIONS = {2: "fax", 3: "fax", 4: "fax", 6: "old JPEG", 7: "JPEG"}
_OTHER_COMPRESSIONS |= dict.fromkeys(WEBP, "WebP")
_PHOTOMETRICS = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "separated inks",
    6: "YCbCr",
    8: "Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32844: "LogL",
    32845: "LogLuv",
}
_KINDS_IN_WORDS = {
    1: "",
    2: " signed",
    3: " as floats",
    4: " of undefined type",
    5: " complex",
    6: " complex",
}


@dataclass(frozen=True)
class Layout:
    """How a page stores its samples.

    Attributes:
        width, height: in pixels, as stored.
        bands: samples per pixel.
        bits: per sample; 0 if the bands differ.
        sample_format: 1 unsigned, 2 signed, 3 floats; others are not read.
        photometric: the meaning of the bands, as a TIFF number.
        is_planar: whether each band is stored separately.
        compression: as a TIFF number.
        predictor: 1 none, 2 differences, 3 differences of the bytes of floats.
        fill_order: 2 if the bits of each byte are reversed.
        is_big_endian: the byte order of samples.
        segment: columns and rows of a tile; for strips, 0 and the rows of a strip.
        offsets: of the strips or tiles in the file, row by row, plane after plane.
        sizes: of the same strips or tiles, in bytes.
    """

    width: int
    height: int
    bands: int
    bits: int
    sample_format: int
    photometric: int
    is_planar: bool
    compression: int
    predictor: int
    fill_order: int
    is_big_endian: bool
    segment: tuple[int, int]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, tags: ImageFileDirectory_v2) -> "Layout":
        """Read the tags of a page.

        Raises:
            InvalidImage: tags are missing, or have values that no page can have.
        """
        width, height, bands = _one(tags, 256, 0), _one(tags, 257, 0), _one(tags, 277, 1)
        if width < 1 or height < 1 or bands < 1:
            raise InvalidImage("the picture has no pixels")
        is_tiled = 324 in tags
        tile_rows, strip_rows = _one(tags, 323, 1), min(_one(tags, 278, height), height)
        return cls(
            width=width,
            height=height,
            bands=bands,
            bits=_same_for_all(tags, 258, 1),
            sample_format=_same_for_all(tags, 339, 1),
            photometric=_one(tags, 262, 0),
            is_planar=bands > 1 and _one(tags, 284, 1) == 2,
            compression=_one(tags, 259, 1),
            predictor=_one(tags, 317, 1),
            fill_order=_one(tags, 266, 1),
            is_big_endian=tags.prefix == b"MM",
            segment=(_one(tags, 322, 1), tile_rows) if is_tiled else (0, max(1, strip_rows)),
            offsets=_all(tags, 324 if is_tiled else 273),
            sizes=_all(tags, 325 if is_tiled else 279),
        )

    @property
    def is_sparse(self) -> bool:
        """Whether strips or tiles are not stored, because all of their samples are 0."""
        return (0, 0) in zip(self.offsets, self.sizes, strict=False)

    @property
    def stored_width(self) -> int:
        """The width of stored rows: tiles extend beyond the picture's right edge."""
        columns = self.segment[0]
        return -(-self.width // columns) * columns if columns else self.width

    def in_words(self) -> str:
        """Return the details that distinguish this layout, for error messages."""
        meaning = _PHOTOMETRICS.get(
            self.photometric, f"photometric interpretation {self.photometric}"
        )
        depth = f"{self.bits} bits" if self.bits else "mixed bits"
        numbers = _KINDS_IN_WORDS.get(self.sample_format, " of an unknown type")
        bands = "1 band" if self.bands == 1 else f"{self.bands} bands"
        default = "" if self.compression in LOSSLESS else f"scheme {self.compression}"
        compression = _OTHER_COMPRESSIONS.get(self.compression, default)
        ending = f", compressed by {compression}" if compression else ""
        predictor = f", predictor {self.predictor}" if self.predictor > 1 else ""
        return f"{bands} of {depth}{numbers} ({meaning}{ending}{predictor})"


def _one(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    if not isinstance(value, int):
        raise InvalidImage(f"the picture's tag {tag} is damaged")
    return value


def _all(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    values = tags.get(tag, ())
    return values if isinstance(values, tuple) else (values,)


def _same_for_all(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    """Return the value of a tag if it is equal for all bands, 0 if the bands differ."""
    values = set(_all(tags, tag)) or {default}
    return int(values.pop()) if len(values) == 1 else 0

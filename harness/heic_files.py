"""HEIC files for the fuzzers, where the extra `heic` is installed."""

from app.pictures import heic
from harness.formats import exif, file_of, landscape


def heic_files() -> dict[str, bytes]:
    """Return the files by name; none where the service rejects HEIC by name."""
    if heic.OBSTACLE is not None:
        return {}
    return {
        "HEIC": file_of(landscape(), "HEIF"),
        "HEIC with alpha": file_of(landscape("RGBA"), "HEIF"),
        "HEIC of grey": file_of(landscape("L"), "HEIF"),
        "HEIC with metadata": file_of(landscape(), "HEIF", exif=exif(6)),
    }

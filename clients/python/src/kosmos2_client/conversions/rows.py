"""Converts a picture's predictions to rows of a table, for CSV and Parquet."""

from collections.abc import Iterator, Mapping

from kosmos2_client.conversions.pictures import LabelledPicture
from kosmos2_client.run_file import Line

Value = str | int | float | None

COLUMNS: Mapping[str, type] = {
    "path": str,
    "width": int,
    "height": int,
    "exif_orientation": int,
    "orientation": str,
    "class": str,
    "class_id": int,
    "confidence": float,
    "presence": float,
    "expected_iou": float,
    "x0": float,
    "y0": float,
    "x1": float,
    "y1": float,
    "error": str,
}
"""The columns and the types of their values; every value except `path` may be absent."""

Row = dict[str, Value]


def rows(picture: LabelledPicture, class_ids: Mapping[str, int]) -> Iterator[Row]:
    """Yield a row per prediction; a picture without predictions has one row without a class.

    Args:
        class_ids: by class name; predictions of other classes are left out.
    """
    facts: Row = dict.fromkeys(COLUMNS) | {
        "path": picture.path,
        "width": picture.width,
        "height": picture.height,
        "exif_orientation": picture.exif_orientation,
        "orientation": picture.orientation,
    }
    kept = [found for found in picture.predictions if found.class_name in class_ids]
    for found in kept:
        x0, y0, x1, y1 = found.xyxy
        yield facts | {
            "class": found.class_name,
            "class_id": class_ids[found.class_name],
            "confidence": found.confidence,
            "presence": found.presence,
            "expected_iou": found.expected_iou,
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
        }
    if not kept:
        yield facts


def error_row(line: Line) -> Row:
    """Return the row of a picture without an answer: the code of its error instead of boxes."""
    row: Row = dict.fromkeys(COLUMNS)
    return row | {"path": line.path, "error": line.error.code if line.error else None}

"""Converts predictions to the lines of a YOLO label file."""

from collections.abc import Iterable, Iterator, Mapping

from kosmos2_client.entities import Edges
from kosmos2_client.results import Prediction

DIGITS = 6


def lines(
    predictions: Iterable[Prediction],
    class_ids: Mapping[str, int],
    *,
    with_confidence: bool = False,
) -> Iterator[str]:
    """Yield one line per prediction: class, centre, width, height, in units of the picture.

    Args:
        class_ids: from 0, by class name; predictions of other classes are left out.
        with_confidence: adds a sixth number, as YOLO writes it for predictions. Training files must
            not have it.
    """
    for prediction in predictions:
        if prediction.class_name in class_ids:
            values = [*_centre_and_size(prediction.xyxy_normalized)]
            if with_confidence:
                values.append(prediction.confidence)
            numbers = " ".join(f"{value:.{DIGITS}f}" for value in values)
            yield f"{class_ids[prediction.class_name]} {numbers}"


def _centre_and_size(box: Edges) -> tuple[float, float, float, float]:
    """Return centre and size of a box inside the picture; YOLO rejects numbers outside 0…1."""
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in box)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top

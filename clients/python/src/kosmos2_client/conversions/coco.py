"""Converts predictions to the annotations and the results of COCO.

A dataset (`images`, `annotations`, `categories`) is what training tools import; a list of results
is what `pycocotools.coco.COCO.loadRes` and its evaluation read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kosmos2_client.conversions.pictures import LabelledPicture
from kosmos2_client.entities import Edges
from kosmos2_client.results import Prediction

DIGITS = 2
"""Decimals of pixels, as in the service's answers."""


def image(picture: LabelledPicture, image_id: int) -> dict[str, Any]:
    """Return the entry of a picture in `images`."""
    return {
        "id": image_id,
        "file_name": picture.path,
        "width": picture.width,
        "height": picture.height,
    }


def categories(category_ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the member `categories` of a dataset."""
    return [{"id": number, "name": name} for name, number in category_ids.items()]


def annotations(
    predictions: Iterable[Prediction],
    image_id: int,
    category_ids: Mapping[str, int],
    first_id: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a picture's predictions in `annotations`.

    Args:
        category_ids: by class name; predictions of other classes are left out.
        first_id: of the annotations, which have consecutive ids.
    """
    number = first_id
    for prediction in predictions:
        if prediction.class_name not in category_ids:
            continue
        box = bbox(prediction.xyxy)
        yield {
            "id": number,
            "image_id": image_id,
            "category_id": category_ids[prediction.class_name],
            "bbox": box,
            "area": round(box[2] * box[3], DIGITS),
            "iscrowd": 0,
            "segmentation": [],
            "score": prediction.confidence,
        }
        number += 1


def results(
    predictions: Iterable[Prediction], image_id: int, category_ids: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield the results of a picture's predictions.

    Args:
        category_ids: by class name; predictions of other classes are left out.
    """
    for prediction in predictions:
        if prediction.class_name in category_ids:
            yield {
                "image_id": image_id,
                "category_id": category_ids[prediction.class_name],
                "bbox": bbox(prediction.xyxy),
                "score": prediction.confidence,
            }


def bbox(box: Edges) -> list[float]:
    """Return left, top, width and height of a box, in pixels.

    >>> bbox((10, 20, 30.5, 60))
    [10, 20, 20.5, 40]
    """
    left, top, right, bottom = box
    values = (left, top, right - left, bottom - top)
    return [round(value, DIGITS) for value in values]

"""Collects the boxes of all rows of a detection, and merges them into predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np

from app.detect.nms import suppress
from app.detect.predictions import ClassResult, Prediction
from app.detect.requests import DetectRequest
from app.detect.rows import RowResult
from app.grounding.answers import ImageFacts, Usage
from app.pictures.marks import Box, scale_box
from app.pictures.tiles import Tile, to_picture

EDGE = 1 / 64
"""Part of a tile's side. A box that is closer to a cut edge may show a part of an object only."""


@dataclass
class _Class:
    """The results of one class by the number of their view."""

    presence: float = 0.0
    by_view: dict[int, list[Prediction]] = field(default_factory=dict)

    def candidates(self) -> list[Prediction]:
        """Return the boxes in the order of the views, which does not depend on their timing."""
        return [box for number in sorted(self.by_view) for box in self.by_view[number]]


class Collector:
    """Turns rows into predictions: one class at a time, or all at the end.

    Args:
        threshold: least confidence of a prediction, 0…1.
        views: the tile of each view in pixels; `None` for the whole picture.

    Attributes:
        usage: tokens of all rows so far.
    """

    def __init__(
        self,
        request: DetectRequest,
        threshold: float,
        image: ImageFacts,
        views: Sequence[Tile | None],
    ) -> None:
        self.usage = Usage(0, 0, 0)
        self._request, self._threshold = request, threshold
        self._image, self._views = image, views
        self._classes = [_Class() for _ in request.classes]

    def add(self, class_id: int, view: int, row: RowResult) -> ClassResult | None:
        """Add a row; return the result of its class if that is final now.

        Args:
            view: number of the view.
        """
        state = self._classes[class_id]
        self.usage += row.usage
        state.presence = max(state.presence, row.presence)
        state.by_view[view] = list(self._predictions(class_id, self._views[view], row))
        if self._request.suppression.class_agnostic or len(state.by_view) < len(self._views):
            return None
        [result] = self._merge([class_id])
        return result

    def merge_all(self) -> list[ClassResult]:
        """Return the results of all classes, which suppress each other's boxes.

        Takes up to a second for tens of thousands of boxes.
        """
        return self._merge(range(len(self._classes)))

    def _merge(self, class_ids: Sequence[int]) -> list[ClassResult]:
        kept = self._suppress([box for n in class_ids for box in self._classes[n].candidates()])
        by_class: dict[int, list[Prediction]] = {number: [] for number in class_ids}
        for prediction in kept:
            by_class[prediction.class_id].append(prediction)
        return [
            ClassResult(
                number,
                self._request.classes[number],
                self._classes[number].presence,
                tuple(predictions[: self._request.max_per_class]),
            )
            for number, predictions in by_class.items()
        ]

    def _suppress(self, candidates: Sequence[Prediction]) -> list[Prediction]:
        """Return the predictions that no better one suppresses, the most confident first."""
        kept = suppress(
            np.array([box.xyxy for box in candidates]).reshape(-1, 4),
            np.array([box.confidence for box in candidates]),
            np.array([box.class_id for box in candidates], dtype=np.int64),
            iou=self._request.suppression.iou,
            class_agnostic=self._request.suppression.class_agnostic,
        )
        return [candidates[number] for number in kept.tolist()]

    def _predictions(
        self, class_id: int, tile: Tile | None, row: RowResult
    ) -> Iterator[Prediction]:
        width, height = self._image.width, self._image.height
        for found in row.boxes:
            confidence = row.presence * found.confidence
            if confidence < self._threshold or _is_cut(found.box, tile, width, height):
                continue
            box = found.box if tile is None else to_picture(found.box, tile, width, height)
            yield Prediction(
                class_id=class_id,
                class_name=self._request.classes[class_id],
                xyxy=scale_box(box, width, height),
                xyxy_normalized=box,
                presence=row.presence,
                expected_iou=found.confidence,
                confidence=confidence,
                detection_id=str(uuid4()),
            )


def _is_cut(box: Box, tile: Tile | None, width: int, height: int) -> bool:
    """Return whether a box touches an edge of a tile that is not an edge of the picture.

    The object may continue beyond it. A neighbouring tile or the whole picture shows it complete.
    """
    if tile is None:
        return False
    left, upper, right, lower = tile
    return (
        (left > 0 and box[0] < EDGE)
        or (upper > 0 and box[1] < EDGE)
        or (right < width and box[2] > 1 - EDGE)
        or (lower < height and box[3] > 1 - EDGE)
    )

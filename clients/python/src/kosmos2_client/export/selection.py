"""Chooses which predictions an export keeps: by thresholds, then by non-maximum suppression."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kosmos2_client.errors import InvalidInput
from kosmos2_client.overlap import exceeds_iou
from kosmos2_client.results import Prediction


@dataclass(frozen=True)
class Selection:
    """Which predictions of a picture are kept.

    Attributes:
        threshold: least confidence, 0…1.
        thresholds: by class name, instead of `threshold`.
        nms_iou: of two boxes that overlap more, only the more confident one stays, 0…1; 1 keeps
            all. The service has suppressed with its own limit before.
        class_agnostic: whether boxes of different classes suppress each other.
    """

    threshold: float = 0.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    nms_iou: float = 1.0
    class_agnostic: bool = False

    def apply(self, predictions: Sequence[Prediction]) -> tuple[Prediction, ...]:
        """Return the predictions to keep, the most confident first."""
        sure = [
            found
            for found in predictions
            if found.confidence >= self.thresholds.get(found.class_name, self.threshold)
        ]
        ordered = sorted(sure, key=lambda found: -found.confidence)
        return tuple(ordered) if self.nms_iou >= 1 else self._suppress(ordered)

    def _suppress(self, ordered: Sequence[Prediction]) -> tuple[Prediction, ...]:
        """Return the predictions that no more confident one suppresses."""
        by_class: dict[str, list[Prediction]] = {}
        kept = []
        for found in ordered:
            rivals = by_class.setdefault("" if self.class_agnostic else found.class_name, [])
            if not any(exceeds_iou(found.xyxy, rival.xyxy, self.nms_iou) for rival in rivals):
                rivals.append(found)
                kept.append(found)
        return tuple(kept)


def read_thresholds(path: Path) -> dict[str, float]:
    """Return the thresholds in a file of `kosmos2-client evaluate --write-thresholds`.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is no JSON object with numbers from 0 to 1.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(name), float(value)) for name, value in content.items()]
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"{path}: must be a JSON object from class to threshold") from None
    for name, value in pairs:
        if not 0 <= value <= 1:
            raise InvalidInput(f"{path}: the threshold of {name!r} must be from 0 to 1")
    return dict(pairs)

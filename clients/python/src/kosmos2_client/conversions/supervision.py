"""Converts predictions to `supervision.Detections`; needs the extra `supervision`."""

from collections.abc import Sequence
from typing import Any

from kosmos2_client.results import Prediction


def to_supervision(predictions: Sequence[Prediction]) -> Any:
    """Return `supervision.Detections` with boxes, confidences, class ids and names.

    Raises:
        ImportError: `supervision` is not installed.
    """
    import numpy as np
    import supervision as sv

    if not predictions:
        return sv.Detections.empty()
    return sv.Detections(
        xyxy=np.array([found.xyxy for found in predictions], np.float32),  # (N, 4)
        confidence=np.array([found.confidence for found in predictions], np.float32),
        class_id=np.array([found.class_id for found in predictions], np.int64),
        data={"class_name": np.array([found.class_name for found in predictions])},
    )

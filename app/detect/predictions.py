"""The parts of a detection's answer: predictions, classes, token counts."""

from dataclasses import dataclass

from app.grounding.answers import ImageFacts, Usage
from app.pictures.marks import Box, Mark


@dataclass(frozen=True)
class Prediction:
    """One detected object.

    Attributes:
        class_id: index in the request's list of classes.
        class_name: as the caller wrote it.
        xyxy: the refined box in pixels of the upright picture.
        xyxy_normalized: the same box, 0…1.
        presence: probability that the class is in the picture or tile where the box was found, 0…1.
        expected_iou: expected intersection over union of the box with the true one, supposing that
            the object is there, 0…1.
        confidence: `presence` × `expected_iou`.
        detection_id: unique.
    """

    class_id: int
    class_name: str
    xyxy: Box
    xyxy_normalized: Box
    presence: float
    expected_iou: float
    confidence: float
    detection_id: str


@dataclass(frozen=True)
class ClassResult:
    """The result for one class.

    Attributes:
        class_id: index in the request's list of classes.
        class_name: as the caller wrote it.
        presence: the highest of the picture and its tiles, 0…1.
        predictions: in descending order of confidence.
    """

    class_id: int
    class_name: str
    presence: float
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Detections:
    """The answer to a detection.

    Attributes:
        model: the name of the model.
        classes: in the order of the request.
        threshold: least confidence of the predictions.
        num_tiles: tiles that were searched in addition to the whole picture.
        is_calibrated: whether the checkpoint has a calibration of the confidence.
        notice: what a user has to know about the model before trusting the answer, or `None`.
        total_s: from the complete headers to the answer, in seconds; set at the end.
    """

    id: str
    model: str
    classes: tuple[ClassResult, ...]
    image: ImageFacts
    threshold: float
    num_tiles: int
    is_calibrated: bool
    notice: str | None
    usage: Usage
    total_s: float = 0.0

    @property
    def predictions(self) -> list[Prediction]:
        """The predictions of all classes, in descending order of confidence."""
        found = [prediction for result in self.classes for prediction in result.predictions]
        return sorted(found, key=lambda prediction: -prediction.confidence)


def marks_of_predictions(detections: Detections) -> list[Mark]:
    """Return the marks to draw: one per class, in pixels of the picture."""
    return [
        Mark(
            label=result.class_name,
            boxes=tuple(prediction.xyxy for prediction in result.predictions),
            scores=tuple(prediction.confidence for prediction in result.predictions),
        )
        for result in detections.classes
        if result.predictions
    ]

"""Typed answers of the service. Fields that this version does not know are only in `raw`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from kosmos2_client.errors import InvalidAnswer

Edges = tuple[float, float, float, float]
"""A box: left, top, right, bottom."""

_UPRIGHT = 1


@dataclass(frozen=True)
class Image:
    """The picture that boxes refer to: upright, at full size.

    Attributes:
        width: in pixels, after the picture was turned upright.
        height: in pixels, after the picture was turned upright.
        orientation: EXIF tag of the file, 1 to 8; the boxes already take it into account.
    """

    width: int
    height: int
    orientation: int = _UPRIGHT

    @classmethod
    def from_json(cls, image: Mapping[str, Any]) -> Self:
        """Return the picture of an answer, or of a line of a run file."""
        orientation = image.get("exif_orientation", image.get("orientation", _UPRIGHT))
        return cls(image["width"], image["height"], orientation)

    def to_json(self) -> dict[str, int]:
        """Return the form of a run file."""
        return {"width": self.width, "height": self.height, "orientation": self.orientation}


@dataclass(frozen=True)
class Prediction:
    """One object that was found.

    Attributes:
        class_name: a class of the request; for a grounding, the phrase (empty without one).
        class_id: index of the class in the request; for a grounding, of the phrase in the order of
            its first mention.
        xyxy: the box in pixels of the upright picture.
        xyxy_normalized: the same box in units of width and height, 0…1.
        confidence: 0…1.
        presence: probability that the class is in the picture, 0…1; `None` for a grounding.
        expected_iou: how well the box is expected to fit, 0…1; `None` for a grounding.
        detection_id: unique; empty for a grounding.
    """

    class_name: str
    class_id: int
    xyxy: Edges
    xyxy_normalized: Edges
    confidence: float
    presence: float | None = None
    expected_iou: float | None = None
    detection_id: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return a prediction of an answer of `POST /v1/detect`."""
        return cls(
            class_name=found["class"],
            class_id=found["class_id"],
            xyxy=_edges(found["xyxy"]),
            xyxy_normalized=_edges(found["xyxy_normalized"]),
            confidence=found["confidence"],
            presence=found.get("presence"),
            expected_iou=found.get("expected_iou"),
            detection_id=found.get("detection_id", ""),
        )


@dataclass(frozen=True)
class ClassPresence:
    """What the model states about one class of the request.

    Attributes:
        presence: probability that the class is in the picture, 0…1.
    """

    class_name: str
    class_id: int
    presence: float


@dataclass(frozen=True)
class Box:
    """A box of a grounding; docs/requests.md explains its fields.

    Attributes:
        xyxy: the coarse box, on the model's 32 × 32 grid, in pixels.
        xyxy_refined: the finer box in pixels; `None` for a box that was sent with the request.
        confidence: expected overlap of the finer box with the true one, 0…1; `None` for the same.
    """

    xyxy: Edges
    xyxy_normalized: Edges
    patch_indices: tuple[int, int]
    score: float | None
    xyxy_refined: Edges | None
    xyxy_refined_normalized: Edges | None
    confidence: float | None

    @classmethod
    def from_json(cls, box: Mapping[str, Any]) -> Self:
        """Return a box of an answer of `POST /v1/ground`."""
        first, second = box["patch_indices"]
        refined, normalized = box.get("xyxy_refined"), box.get("xyxy_refined_normalized")
        return cls(
            xyxy=_edges(box["xyxy"]),
            xyxy_normalized=_edges(box["xyxy_normalized"]),
            patch_indices=(first, second),
            score=box.get("score"),
            xyxy_refined=None if refined is None else _edges(refined),
            xyxy_refined_normalized=None if normalized is None else _edges(normalized),
            confidence=box.get("confidence"),
        )


@dataclass(frozen=True)
class Entity:
    """A phrase of the text and its boxes.

    Attributes:
        phrase: `None` for a box without a phrase.
        span: start and end of the phrase in `Grounding.text`.
        from_prompt: whether the boxes were sent with the request.
    """

    phrase: str | None
    span: tuple[int, int]
    from_prompt: bool
    boxes: tuple[Box, ...]

    @classmethod
    def from_json(cls, entity: Mapping[str, Any]) -> Self:
        """Return an entity of an answer of `POST /v1/ground`."""
        start, end = entity["span"]
        boxes = tuple(Box.from_json(box) for box in entity["boxes"])
        return cls(entity["phrase"], (start, end), entity["from_prompt"], boxes)


@dataclass(frozen=True)
class Detections:
    """The answer of `POST /v1/detect`; its length is the number of predictions.

    Attributes:
        predictions: of all classes together, the most confident first.
        classes: every class of the request, in its order, also those without a prediction.
        threshold: least confidence of the predictions.
        is_calibrated: whether confidences were compared with measured pictures.
        raw: the whole answer as JSON.
    """

    id: str
    model: str
    predictions: tuple[Prediction, ...]
    classes: tuple[ClassPresence, ...]
    image: Image
    threshold: float
    is_calibrated: bool
    raw: Mapping[str, Any]

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Return the typed form of an answer.

        Raises:
            InvalidAnswer: a field is missing or has another form.
        """
        try:
            return cls(
                id=answer["id"],
                model=answer["model"],
                predictions=tuple(Prediction.from_json(one) for one in answer["predictions"]),
                classes=tuple(
                    ClassPresence(one["class"], one["class_id"], one["presence"])
                    for one in answer["classes"]
                ),
                image=Image.from_json(answer["image"]),
                threshold=answer["confidence"],
                is_calibrated=answer["calibrated"],
                raw=answer,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnswer(f"not an answer of /v1/detect: {error!r}") from None

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)


@dataclass(frozen=True)
class Grounding:
    """The answer of `POST /v1/ground`; its length is the number of predictions.

    Attributes:
        text: prompt and answer, without tags.
        answer: the generated part of `text`, which starts at `answer_start`.
        finish_reason: `stop`, or `length` if the limit of tokens ended the answer.
        is_calibrated: whether confidences were compared with measured pictures.
        raw: the whole answer as JSON.
    """

    id: str
    model: str
    task: str
    text: str
    answer: str
    answer_start: int
    entities: tuple[Entity, ...]
    image: Image
    finish_reason: str
    is_calibrated: bool
    raw: Mapping[str, Any]

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Return the typed form of an answer.

        Raises:
            InvalidAnswer: a field is missing or has another form.
        """
        try:
            return cls(
                id=answer["id"],
                model=answer["model"],
                task=answer["task"],
                text=answer["text"],
                answer=answer["answer"],
                answer_start=answer["answer_start"],
                entities=tuple(Entity.from_json(entity) for entity in answer["entities"]),
                image=Image.from_json(answer["image"]),
                finish_reason=answer["finish_reason"],
                is_calibrated=answer["calibrated"],
                raw=answer,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnswer(f"not an answer of /v1/ground: {error!r}") from None

    @cached_property
    def predictions(self) -> tuple[Prediction, ...]:
        """The generated boxes with their phrases as class names, in the order of the text."""
        ids: dict[str, int] = {}
        return tuple(
            Prediction(
                class_name=entity.phrase or "",
                class_id=ids.setdefault(entity.phrase or "", len(ids)),
                xyxy=box.xyxy_refined,
                xyxy_normalized=box.xyxy_refined_normalized,
                confidence=box.confidence,
            )
            for entity in self.entities
            for box in entity.boxes
            if box.xyxy_refined is not None
            and box.xyxy_refined_normalized is not None
            and box.confidence is not None
        )

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)


Result = Detections | Grounding
"""An answer with predictions."""


def read_result(answer: Mapping[str, Any]) -> Result:
    """Return the typed form of an answer of `POST /v1/detect` or `POST /v1/ground`.

    Raises:
        InvalidAnswer: the answer is neither.
    """
    return Detections.from_json(answer) if "predictions" in answer else Grounding.from_json(answer)


def _edges(numbers: Sequence[float]) -> Edges:
    left, top, right, bottom = numbers
    return left, top, right, bottom

"""Typed answers of the service. Fields that this version does not know are only in `raw`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar, cast

from kosmos2_client.conversions.convertible import Convertible
from kosmos2_client.entities import Edges, Entity, read_edges
from kosmos2_client.errors import InvalidAnswer

_UPRIGHT = 1

T_co = TypeVar("T_co", covariant=True)


class Annotator(Protocol[T_co]):
    """A client: `Kosmos2` returns bytes, `AsyncKosmos2` an awaitable of bytes."""

    def annotate(self, picture: Any, result: "Result | None" = None) -> T_co:
        """Return the file of the picture with boxes drawn on it."""


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
            xyxy=read_edges(found["xyxy"]),
            xyxy_normalized=read_edges(found["xyxy_normalized"]),
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


class _Answer(Convertible):
    """Base of both answers: a sequence of predictions."""

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    def draw(self, client: Annotator[T_co], picture: Any) -> T_co:
        """Return the file of the picture with the predictions drawn on it, as PNG.

        Args:
            client: draws with `POST /v1/annotate`; an `AsyncKosmos2` returns an awaitable.
            picture: the picture of this answer.
        """
        return client.annotate(picture, cast("Result", self))


@dataclass(frozen=True)
class Detections(_Answer):
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


@dataclass(frozen=True)
class Grounding(_Answer):
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


Result = Detections | Grounding
"""An answer with predictions."""


def read_result(answer: Mapping[str, Any]) -> Result:
    """Return the typed form of an answer of `POST /v1/detect` or `POST /v1/ground`.

    Raises:
        InvalidAnswer: the answer is neither.
    """
    return Detections.from_json(answer) if "predictions" in answer else Grounding.from_json(answer)

"""The fields of requests and answers in the form of Moondream's clients."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.contract.chat_answers import ChatGrounding
from app.contract.detect_models import DetectBody
from app.contract.fields import Score, Share
from app.contract.request_models import GroundBody
from app.contract.validation import validate
from app.detect.predictions import Prediction
from app.detect.requests import MAX_PER_CLASS
from app.errors import InvalidRequest
from app.grounding.tasks import TaskName
from app.ipc.sampling_limits import MAX_NEW_TOKENS

Length = Literal["short", "normal", "long"]


class MoondreamSettings(BaseModel):
    """Options of sampling and detection."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    max_objects: int | None = Field(None, ge=1, description="Largest number of objects.")


class _PictureBody(BaseModel):
    """The fields of all requests; others are ignored, so that newer clients keep working."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    image_url: str = Field(description="The picture as a data URI.")
    settings: MoondreamSettings = Field(
        default_factory=MoondreamSettings, description="Options of sampling and detection."
    )
    spatial_refs: list[Any] | None = Field(None, description="Not supported: must be empty.")

    @field_validator("spatial_refs")
    @classmethod
    def _check_spatial_refs(cls, refs: list[Any] | None) -> list[Any] | None:
        if refs:
            message = "are not supported: send regions with their phrases to /v1/ground"
            raise InvalidRequest("spatial_refs", message)
        return refs


class _AnsweredBody(_PictureBody):
    SENT_FIELDS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "text": "question",
            "temperature": "settings.temperature",
            "top_p": "settings.top_p",
            "max_new_tokens": "settings.max_tokens",
        }
    )
    """The paths of this request's fields, by those of `to_ground_body`."""

    stream: bool = Field(False, description="`true` returns the text as a stream.")

    def _ground_body(self, task: TaskName, text: str | None = None) -> GroundBody:
        limit = self.settings.max_tokens
        fields = {
            "text": text,
            "temperature": self.settings.temperature,
            "top_p": self.settings.top_p,
            "max_new_tokens": None if limit is None else min(limit, MAX_NEW_TOKENS),
        }
        sent = {name: value for name, value in fields.items() if value is not None}
        return validate(GroundBody, {"task": task, **sent}, strict=False)


class CaptionBody(_AnsweredBody):
    """A request for a caption."""

    length: Length = Field("normal", description="`short`: one sentence; otherwise several.")

    def to_ground_body(self) -> GroundBody:
        """Return the same request for `POST /v1/ground`."""
        return self._ground_body("brief_caption" if self.length == "short" else "detailed_caption")


class QueryBody(_AnsweredBody):
    """A question."""

    question: str = Field(description="The question about the picture.")

    def to_ground_body(self) -> GroundBody:
        """Return the same request for `POST /v1/ground`."""
        return self._ground_body("grounded_vqa", self.question)


class ObjectBody(_PictureBody):
    """A request for the objects that a phrase names."""

    SENT_FIELDS: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"classes[0]": "object", "max_per_class": "settings.max_objects"}
    )
    """The paths of this request's fields, by those of `to_detect_body`."""

    object: str = Field(description="What to find.")

    def to_detect_body(self) -> DetectBody:
        """Return the same request for `POST /v1/detect`."""
        limit = self.settings.max_objects
        largest = {} if limit is None else {"max_per_class": min(limit, MAX_PER_CLASS)}
        return validate(DetectBody, {"classes": [self.object], **largest}, strict=False)


class _Scored(BaseModel, ABC):
    label: str = Field(description="The object as the request names it.")
    confidence: Score = Field(description="`presence` x `expected_iou`, 0…1.")
    presence: Score = Field(description="Probability that the object is in the picture, 0…1.")
    expected_iou: Score = Field(description="Expected overlap with the true box, 0…1.")

    @classmethod
    def from_prediction(cls, prediction: Prediction) -> Self:
        """Return a prediction in its JSON form."""
        return cls(
            label=prediction.class_name,
            confidence=prediction.confidence,
            presence=prediction.presence,
            expected_iou=prediction.expected_iou,
            **cls._place(prediction),
        )

    @classmethod
    @abstractmethod
    def _place(cls, prediction: Prediction) -> dict[str, Any]:
        """Return the members that state where the object is, as shares of the picture's sides."""


class ObjectBox(_Scored):
    """A box, with scores that Moondream's own answers do not have."""

    x_min: Share
    y_min: Share
    x_max: Share
    y_max: Share

    @classmethod
    def _place(cls, prediction: Prediction) -> dict[str, Any]:
        names = ("x_min", "y_min", "x_max", "y_max")
        return dict(zip(names, prediction.xyxy_normalized, strict=True))


class ObjectPoint(_Scored):
    """The centre of a box, with scores that Moondream's own answers do not have."""

    x: Share
    y: Share

    @classmethod
    def _place(cls, prediction: Prediction) -> dict[str, Any]:
        x0, y0, x1, y1 = prediction.xyxy_normalized
        return {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2}


class _Answered(BaseModel):
    request_id: str = Field(description="Equal to the `X-Request-ID` header.")
    grounding: ChatGrounding = Field(description="The boxes of the text.")


class CaptionAnswer(_Answered):
    """A caption."""

    caption: str


class QueryAnswer(_Answered):
    """The answer to a question."""

    answer: str


class ObjectsAnswer(BaseModel):
    """The boxes of an object, the most confident first."""

    request_id: str
    objects: list[ObjectBox]


class PointsAnswer(BaseModel):
    """The centres of an object's boxes, the most confident first."""

    request_id: str
    points: list[ObjectPoint]

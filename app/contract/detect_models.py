"""The fields of detection requests and answers. OpenAPI is generated from them."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    field_validator,
)

from app.contract.fields import (
    PRIORITY_DESCRIPTION,
    Pixels,
    Score,
    Seconds,
    Share,
    as_integer,
)
from app.contract.response_models import NOTICE, ImageBody, UsageBody
from app.contract.validation import OBJECT, WORD
from app.detect.predictions import ClassResult, Detections, Prediction
from app.detect.requests import (
    DEFAULT_MAX_PER_CLASS,
    DEFAULT_NMS_IOU,
    MAX_CLASSES,
    MAX_PER_CLASS,
    MAX_ROWS,
    DetectRequest,
    Suppression,
)
from app.errors import InvalidRequest
from app.ipc.engine_messages import Priority
from app.pictures.tiles import MAX_OVERLAP, MIN_SIDE, TileOptions

MAX_NAME_CHARACTERS = 200


class NmsBody(BaseModel):
    """Options of non-maximum suppression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iou: float = Field(
        DEFAULT_NMS_IOU,
        ge=0,
        le=1,
        description="Of two boxes that overlap more than this, only the more confident one stays.",
    )
    class_agnostic: StrictBool = Field(
        False, description="Whether boxes of different classes suppress each other."
    )


class TilesBody(BaseModel):
    """The size of tiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=MIN_SIDE, description="Of a tile, in pixels.")
    height: int = Field(ge=MIN_SIDE, description="Of a tile, in pixels.")
    overlap: float = Field(
        0.2, ge=0, le=MAX_OVERLAP, description="Share of a tile that neighbours have in common."
    )

    _as_integer = field_validator("width", "height", mode="before")(as_integer)


def _tiles_tag(value: Any) -> str:
    return OBJECT if isinstance(value, dict | TilesBody) else WORD


Tiles = Annotated[
    Annotated[Literal["none", "auto"], Tag(WORD)] | Annotated[TilesBody, Tag(OBJECT)],
    Discriminator(_tiles_tag),
]


class DetectBody(BaseModel):
    """The fields of a request to `POST /v1/detect`, except the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]] = Field(
        min_length=1,
        max_length=MAX_CLASSES,
        description="Names of the classes to find, each once. In a form: a JSON list, or names "
        "with commas in between.",
    )
    confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least confidence of a prediction. Default: the checkpoint's threshold.",
    )
    max_per_class: int = Field(
        DEFAULT_MAX_PER_CLASS,
        ge=1,
        le=MAX_PER_CLASS,
        description="Largest number of predictions of a class; the most confident ones stay.",
    )
    nms: NmsBody = Field(
        default_factory=NmsBody, description="How overlapping boxes are merged. In a form: JSON."
    )
    # Not a plain default, which OpenAPI would have: generated Go does not compile with one here.
    tiles: Tiles = Field(
        default_factory=lambda: "none",
        description="Also search overlapping parts of the picture, for small objects. `auto`: "
        "tiles that suit the picture's size. Default: `none`. Classes x (1 + tiles) must not "
        f"exceed {MAX_ROWS}.",
    )
    priority: Priority | None = Field(None, description=PRIORITY_DESCRIPTION)
    stream: StrictBool = Field(
        False,
        description="`true` returns the classes as Server-Sent Events. Default: the `Accept` "
        "header chooses between `application/json` and `text/event-stream`.",
    )

    _as_integer = field_validator("max_per_class", mode="before")(as_integer)

    @field_validator("classes", mode="after")
    @classmethod
    def _check_classes(cls, classes: list[str]) -> list[str]:
        for number, name in enumerate(classes):
            if name in classes[:number]:
                raise InvalidRequest(f"classes[{number}]", "occurs twice")
        return classes

    def to_request(self, image: bytes) -> DetectRequest:
        """Return the request for the service."""
        tiles = self.tiles
        return DetectRequest(
            image=image,
            classes=tuple(self.classes),
            threshold=self.confidence,
            max_per_class=self.max_per_class,
            suppression=Suppression(self.nms.iou, self.nms.class_agnostic),
            tiles=TileOptions(tiles.width, tiles.height, tiles.overlap)
            if isinstance(tiles, TilesBody)
            else tiles,
        )


class PredictionBody(BaseModel):
    """One detected object, in the shape that `supervision` and Roboflow's clients read."""

    x: Pixels = Field(description="Centre of the box, in pixels of the upright picture.")
    y: Pixels = Field(description="Centre of the box, in pixels of the upright picture.")
    width: Pixels = Field(description="Of the box, in pixels.")
    height: Pixels = Field(description="Of the box, in pixels.")
    xyxy: list[Pixels] = Field(
        min_length=4, max_length=4, description="The same box: x0, y0, x1, y1 in pixels."
    )
    xyxy_normalized: list[Share] = Field(
        min_length=4, max_length=4, description="The same box in units of width and height, 0…1."
    )
    confidence: Score = Field(description="`presence` x `expected_iou`, 0…1.")
    presence: Score = Field(
        description="Probability that the class is in the picture, or in the tile where the box "
        "was found, 0…1."
    )
    expected_iou: Score = Field(
        description="Expected intersection over union of the box with the true one, supposing that "
        "the object is there, 0…1."
    )
    class_: str = Field(alias="class", description="The class as the request names it.")
    class_id: int = Field(description="Index of the class in the request.")
    detection_id: str = Field(description="Unique.")

    model_config = ConfigDict(populate_by_name=True)

    @classmethod
    def from_prediction(cls, prediction: Prediction) -> Self:
        """Return the prediction in its JSON form."""
        x0, y0, x1, y1 = prediction.xyxy
        return cls(
            x=(x0 + x1) / 2,
            y=(y0 + y1) / 2,
            width=x1 - x0,
            height=y1 - y0,
            xyxy=list(prediction.xyxy),
            xyxy_normalized=list(prediction.xyxy_normalized),
            confidence=prediction.confidence,
            presence=prediction.presence,
            expected_iou=prediction.expected_iou,
            class_=prediction.class_name,
            class_id=prediction.class_id,
            detection_id=prediction.detection_id,
        )


class ClassBody(BaseModel):
    """What the model states about one class of the request."""

    class_: str = Field(alias="class", description="The class as the request names it.")
    class_id: int = Field(description="Index of the class in the request.")
    presence: Score = Field(
        description="Probability that the class is in the picture; with tiles, the highest of all."
    )

    model_config = ConfigDict(populate_by_name=True)

    @classmethod
    def from_result(cls, result: ClassResult) -> Self:
        """Return the class in its JSON form."""
        return cls(class_=result.class_name, class_id=result.class_id, presence=result.presence)


class ClassEvent(ClassBody):
    """The event `class`: the final predictions of one class."""

    predictions: list[PredictionBody]

    @classmethod
    def from_result(cls, result: ClassResult) -> Self:
        """Return the class with its predictions in its JSON form."""
        return cls(
            class_=result.class_name,
            class_id=result.class_id,
            presence=result.presence,
            predictions=[PredictionBody.from_prediction(p) for p in result.predictions],
        )


class DetectionsBody(BaseModel):
    """The answer to a detection."""

    id: str = Field(description="Equal to the `X-Request-ID` header.")
    inference_id: str = Field(description="Equal to `id`; the name in Roboflow's clients.")
    model: str
    predictions: list[PredictionBody] = Field(
        description="All classes together, the most confident first."
    )
    classes: list[ClassBody] = Field(description="In the order of the request.")
    image: ImageBody
    confidence: Score = Field(description="The least confidence of the predictions.")
    tiles: int = Field(description="Tiles that were searched in addition to the whole picture.")
    calibrated: bool = Field(
        description="Whether the checkpoint has a calibration: presence and confidence were "
        "compared with measured pictures. Otherwise they only rank boxes."
    )
    notice: str | None = Field(description=NOTICE)
    usage: UsageBody
    time: Seconds = Field(description="Seconds from the complete headers to the answer.")

    @classmethod
    def from_detections(cls, detections: Detections) -> Self:
        """Return the answer in its JSON form."""
        return cls(
            id=detections.id,
            inference_id=detections.id,
            model=detections.model,
            predictions=[PredictionBody.from_prediction(p) for p in detections.predictions],
            classes=[ClassBody.from_result(result) for result in detections.classes],
            image=ImageBody.model_validate(detections.image),
            confidence=detections.threshold,
            tiles=detections.num_tiles,
            calibrated=detections.is_calibrated,
            notice=detections.notice,
            usage=UsageBody.model_validate(detections.usage),
            time=detections.total_s,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the answer with the names of the contract, such as `class`."""
        return self.model_dump(mode="json", by_alias=True)

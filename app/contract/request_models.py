"""What a request may say: half of the HTTP contract, of which OpenAPI is made."""

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from app.errors import InvalidRequest
from app.grounding.requests import GroundRequest, UserRegion
from app.grounding.tasks import MAX_BOXES_PER_REGION, MAX_REGIONS, TASKS, Task, TaskName, Use
from app.ipc.sampling_limits import (
    DEFAULT_MAX_NEW_TOKENS,
    MAX_NEW_TOKENS,
    MAX_NGRAM_SIZE,
    MAX_SEED,
    MAX_TEMPERATURE,
    MAX_TOP_K,
    MAX_TOP_P,
)
from app.pictures.marks import BoxFormat

MAX_DRAWN_ENTITIES = 256
MAX_DRAWN_BOXES = 64  # of one entity

# What is no finite number is told by the box it stands in, not by the parser.
Number = Annotated[float, Field(allow_inf_nan=True)]


class RegionBody(BaseModel):
    """A place in the picture that the prompt speaks of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrase: str | None = Field(
        None, max_length=1000, description="What it is called; `It` if left out."
    )
    boxes: list[Annotated[list[Number], Field(max_length=4)]] = Field(
        description="Each x0, y0, x1, y1, in the unit of `box_format`.",
        min_length=1,
        max_length=MAX_BOXES_PER_REGION,
    )


_DEFAULT_BOX_FORMAT: BoxFormat = "pixel"
_TASKS_IN_WORDS = "; ".join(f"`{task.name}`: {task.description}" for task in TASKS.values())


class RequestFields(BaseModel):
    """What both routes take, but for the picture itself and the task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = Field(
        None, description="The phrase, the expression, the question, or the raw prompt."
    )
    regions: list[RegionBody] = Field(
        default_factory=list,
        max_length=MAX_REGIONS,
        description="Places in the picture that the prompt speaks of. Exactly one for "
        "`referring_expression_generation`; allowed for `grounded_vqa`, where each takes the "
        "first occurrence of its phrase in `text`: whole words, same case, in this order.",
    )
    box_format: BoxFormat = Field(
        _DEFAULT_BOX_FORMAT,
        description="Of the boxes sent; pixels are those of the upright picture.",
    )
    grounding: StrictBool = Field(
        True, description="`false` asks for plain text without boxes: captions and VQA only."
    )
    max_new_tokens: int = Field(
        DEFAULT_MAX_NEW_TOKENS,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="Tokens of the answer at most.",
    )
    no_repeat_ngram_size: int | None = Field(
        None,
        ge=0,
        le=MAX_NGRAM_SIZE,
        description="No n-gram occurs twice, prompt included; 0: off. Default: the checkpoint's.",
    )
    temperature: float = Field(
        0.0,
        ge=0,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
        description="0: the most probable token, always.",
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=MAX_TOP_P,
        allow_inf_nan=False,
        description="Tokens that together reach p; 1: all.",
    )
    top_k: int = Field(0, ge=0, le=MAX_TOP_K, description="The k most probable; 0: all.")
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Of the randomness; chosen and returned if left out."
    )
    jpeg_round_trip: StrictBool = Field(
        False,
        description="Put the picture through JPEG first, as the model's original demo did.",
    )

    @field_validator("max_new_tokens", "no_repeat_ngram_size", "top_k", "seed", mode="before")
    @classmethod
    def _as_integer(cls, value: Any) -> Any:
        """Return `64` for `64.0`, which JSON Schema calls an integer too."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def request_for(self, task: Task, image: bytes) -> GroundRequest:
        """The same for the service.

        Raises:
            InvalidRequest: `box_format` is sent to a task that takes no boxes.
        """
        # Clients that generators make send every default, so only what differs is a mistake.
        if task.regions is Use.REFUSED and self.box_format != _DEFAULT_BOX_FORMAT:
            raise InvalidRequest("box_format", f"is not used by the task {task.name}")
        return GroundRequest(
            image=image,
            task=task,
            text=self.text,
            regions=tuple(
                UserRegion(region.phrase, tuple(tuple(box) for box in region.boxes))
                for region in self.regions
            ),
            **self.model_dump(include=_PASSED_ON),
        )


_PASSED_ON = set(RequestFields.model_fields) - {"text", "regions"}


class GroundBody(RequestFields):
    """What is asked for, but for the picture itself."""

    task: TaskName = Field(description=_TASKS_IN_WORDS)
    stream: StrictBool = Field(
        False,
        description="`true` answers with Server-Sent Events. If left out, the `Accept` header "
        "decides between `application/json` and `text/event-stream`.",
    )

    def to_request(self, image: bytes) -> GroundRequest:
        """The same for the service."""
        return self.request_for(TASKS[self.task], image)


class DrawnBox(BaseModel):
    """A box to draw; what else an answer's box has is passed over."""

    model_config = ConfigDict(frozen=True)

    xyxy: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        min_length=4, max_length=4, description="x0, y0, x1, y1, in the unit of `box_format`."
    )
    score: float | None = Field(None, allow_inf_nan=False, description="Shown behind the phrase.")


class DrawnEntity(BaseModel):
    """An entity to draw; what else an answer's entity has is passed over."""

    model_config = ConfigDict(frozen=True)

    phrase: str | None = Field(None, max_length=1000, description="The label; else a number.")
    boxes: list[DrawnBox] = Field(max_length=MAX_DRAWN_BOXES)


class AnnotateBody(RequestFields):
    """What is drawn on the picture: the answer to a task, or entities that are given."""

    task: TaskName | None = Field(None, description="What is asked; its answer is drawn.")
    entities: list[DrawnEntity] | None = Field(
        None,
        max_length=MAX_DRAWN_ENTITIES,
        description="As in an answer; drawn instead of asking the model.",
    )
    show_scores: StrictBool = Field(True, description="Whether labels tell the scores.")

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Self:
        if (self.task is None) == (self.entities is None):
            raise InvalidRequest("task", "or entities is required, and not both")
        kept = self.model_dump(exclude_defaults=True).keys()
        useless = kept - {"entities", "box_format", "show_scores"}
        if self.entities is not None and useless:
            raise InvalidRequest(min(useless), "is not used where entities are given")
        return self

"""The fields of requests: half of the HTTP contract. OpenAPI is generated from them."""

from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from app.contract.fields import PRIORITY_DESCRIPTION, Seed, as_integer
from app.errors import InvalidRequest
from app.grounding.answers import DrawnBoxes
from app.grounding.requests import GroundRequest, UserRegion
from app.grounding.tasks import MAX_BOXES_PER_REGION, MAX_REGIONS, TASKS, Task, TaskName, Use
from app.grounding.tokenizer import MAX_CHARACTERS
from app.ipc.engine_messages import Priority
from app.ipc.sampling_limits import (
    DEFAULT_MAX_NEW_TOKENS,
    MAX_NEW_TOKENS,
    MAX_SEED,
    MAX_TEMPERATURE,
    MAX_TOP_K,
    MAX_TOP_P,
)
from app.pictures.marks import BoxFormat
from app.settings import MAX_NGRAM_SIZE

MAX_DRAWN_ENTITIES = 256
MAX_DRAWN_BOXES = 64  # per entity

# NaN and infinity pass here: the check of the box reports them together with the box's path.
Number = Annotated[float, Field(allow_inf_nan=True)]


class RegionBody(BaseModel):
    """A region of the picture that the prompt refers to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrase: str | None = Field(
        None, max_length=1000, description="The phrase for the region. Default: `It`."
    )
    boxes: list[Annotated[list[Number], Field(max_length=4)]] = Field(
        description="Boxes as x0, y0, x1, y1, in the unit of `box_format`.",
        min_length=1,
        max_length=MAX_BOXES_PER_REGION,
    )


_DEFAULT_BOX_FORMAT: BoxFormat = "pixel"
_TASKS_IN_WORDS = "; ".join(f"`{task.name}`: {task.description}" for task in TASKS.values())


class RequestFields(BaseModel):
    """The fields that both routes accept, except the picture and the task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Pydantic rejects lone surrogates only in texts whose length it checks.
    text: str | None = Field(
        None,
        max_length=MAX_CHARACTERS,
        description="The phrase, the referring expression, the question or the raw prompt, "
        "depending on the task.",
    )
    regions: list[RegionBody] = Field(
        default_factory=list,
        max_length=MAX_REGIONS,
        description="Regions of the picture that the prompt refers to. "
        "`referring_expression_generation` requires exactly one. `grounded_vqa` allows several: "
        "each is attached to the first occurrence of its phrase in `text` (whole words, same "
        "case, in the order of the list).",
    )
    box_format: BoxFormat = Field(
        _DEFAULT_BOX_FORMAT,
        description="Unit of the boxes in the request. `pixel` counts pixels of the upright "
        "picture.",
    )
    grounding: StrictBool = Field(
        True, description="`false` returns plain text without boxes; for captions and VQA only."
    )
    max_new_tokens: int = Field(
        DEFAULT_MAX_NEW_TOKENS,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="Longest answer, in tokens. If it is not sent, the answer may be as long as "
        "fits after the prompt, at most the default.",
    )
    no_repeat_ngram_size: int | None = Field(
        None,
        ge=0,
        le=MAX_NGRAM_SIZE,
        description="Forbids repeating an n-gram of this size, prompt included. 0: off. Default: "
        "the checkpoint's value.",
    )
    temperature: float = Field(
        0.0,
        ge=0,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
        description="Sampling temperature. 0: always the most probable token.",
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=MAX_TOP_P,
        allow_inf_nan=False,
        description="Samples from the most probable tokens whose probabilities add up to p. 1: "
        "from all.",
    )
    top_k: int = Field(
        0, ge=0, le=MAX_TOP_K, description="Samples from the k most probable tokens. 0: from all."
    )
    seed: Seed | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Seed of the sampling. Default: the service chooses one and returns it.",
    )
    jpeg_round_trip: StrictBool = Field(
        False,
        description="Encode and decode the picture as JPEG first, as the model's original demo "
        "does.",
    )

    priority: Priority | None = Field(None, description=PRIORITY_DESCRIPTION)

    _as_integer = field_validator(
        "max_new_tokens", "no_repeat_ngram_size", "top_k", "seed", mode="before"
    )(as_integer)

    def request_for(self, task: Task, image: bytes) -> GroundRequest:
        """Return the request for the service.

        Raises:
            InvalidRequest: `box_format` is sent to a task that accepts no boxes.
        """
        # Generated clients send every default, so only a value that differs is a mistake.
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
            # A default must not make a request fail whose prompt is long.
            shortens_answer="max_new_tokens" not in self.model_fields_set,
        )


_PASSED_ON = set(RequestFields.model_fields) - {"text", "regions", "priority"}


class GroundBody(RequestFields):
    """The fields of a request to `POST /v1/ground`."""

    task: TaskName = Field(description=_TASKS_IN_WORDS)
    stream: StrictBool = Field(
        False,
        description="`true` returns the answer as Server-Sent Events. Default: the `Accept` header "
        "chooses between `application/json` and `text/event-stream`.",
    )

    def to_request(self, image: bytes) -> GroundRequest:
        """Return the request for the service."""
        return self.request_for(TASKS[self.task], image)


class DrawnBox(BaseModel):
    """A box to draw; the other fields of an answer's box are ignored."""

    model_config = ConfigDict(frozen=True)

    xyxy: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        min_length=4, max_length=4, description="x0, y0, x1, y1, in the unit of `box_format`."
    )
    score: float | None = Field(None, allow_inf_nan=False, description="Shown after the phrase.")
    xyxy_refined: (
        Annotated[
            list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=4, max_length=4)
        ]
        | None
    ) = Field(
        None,
        description="x0, y0, x1, y1 in pixels: drawn instead of `xyxy` if `boxes` is `refined` and "
        "`box_format` is `pixel`.",
    )


class DrawnEntity(BaseModel):
    """An entity to draw; the other fields of an answer's entity are ignored."""

    model_config = ConfigDict(frozen=True)

    phrase: str | None = Field(None, max_length=1000, description="The label. Default: a number.")
    boxes: list[DrawnBox] = Field(max_length=MAX_DRAWN_BOXES)


class AnnotateBody(RequestFields):
    """The fields of a request to `POST /v1/annotate`: a task to answer, or entities to draw."""

    task: TaskName | None = Field(None, description="Draw the answer to this task.")
    entities: list[DrawnEntity] | None = Field(
        None,
        max_length=MAX_DRAWN_ENTITIES,
        description="Draw these entities, in the form of an answer's, without running the model.",
    )
    show_scores: StrictBool = Field(True, description="Whether labels show the scores.")
    boxes: DrawnBoxes = Field(
        "refined",
        description="Boxes to draw: `refined` draws `xyxy_refined` where it is not null, `coarse` "
        "draws `xyxy`.",
    )

    @model_validator(mode="after")
    def _check_task_or_entities(self) -> Self:
        if (self.task is None) == (self.entities is None):
            raise InvalidRequest("task", "either task or entities is required, but not both")
        changed = self.model_dump(exclude_defaults=True).keys()
        useless = changed - {"entities", "box_format", "show_scores", "boxes", "priority"}
        if self.entities is not None and useless:
            raise InvalidRequest(min(useless), "is not used when entities are sent")
        return self

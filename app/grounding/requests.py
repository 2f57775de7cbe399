"""Validated requests: every field is within its limits."""

from dataclasses import dataclass

from app.grounding.tasks import Task
from app.ipc.engine_messages import Priority
from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.pictures.marks import BoxFormat
from app.telemetry.timeline import Timeline


@dataclass(frozen=True)
class CallContext:
    """The id, timeline, deadline and priority of a request.

    Attributes:
        request_id: also the id of the answer and of the request's log lines.
        timeline: records the phases of the request.
        deadline: when the answer has to be complete, in seconds on the service's clock.
    """

    request_id: str
    timeline: Timeline
    deadline: float
    priority: Priority = "interactive"


@dataclass(frozen=True)
class UserRegion:
    """A region as the client sends it.

    Attributes:
        phrase: the name of the region.
        boxes: xyxy, in the request's `box_format`.
    """

    phrase: str | None
    boxes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GroundRequest:
    """A request whose fields are within the ranges of `app.ipc.sampling_limits`.

    Attributes:
        text: the phrase, the expression, the question or the raw prompt.
        regions: the regions that the prompt mentions.
        box_format: the unit of the regions' boxes.
        grounding: whether the answer should have boxes.
        jpeg_round_trip: whether the picture is first encoded and decoded as JPEG.
        no_repeat_ngram_size: `None` selects the checkpoint's default.
        top_k: 0 means all tokens.
        seed: `None` lets the service choose one.
        stop: texts before the first of which the answer ends.
        shortens_answer: whether a `max_new_tokens` that does not fit after the prompt is reduced
            instead of rejected.
    """

    image: bytes
    task: Task
    text: str | None = None
    regions: tuple[UserRegion, ...] = ()
    box_format: BoxFormat = "pixel"
    grounding: bool = True
    jpeg_round_trip: bool = False
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    no_repeat_ngram_size: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    shortens_answer: bool = False

"""What is asked for, its fields each within their limits."""

from dataclasses import dataclass

from app.grounding.tasks import Task
from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.pictures.marks import BoxFormat


@dataclass(frozen=True)
class UserRegion:
    """A place as the sender tells it.

    Attributes:
        phrase: what it is called.
        boxes: xyxy, in the request's `box_format`.
    """

    phrase: str | None
    boxes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GroundRequest:
    """A request whose fields are within the ranges of `app.ipc.sampling_limits`.

    Attributes:
        task: what is asked for.
        text: the phrase, the expression, the question or the raw prompt.
        regions: places that the prompt speaks of.
        box_format: of the regions' boxes.
        grounding: whether boxes are asked for.
        jpeg_round_trip: whether the picture passes through JPEG first.
        no_repeat_ngram_size: `None`: the checkpoint's.
        top_k: 0: all tokens.
        seed: `None`: the service chooses one.
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

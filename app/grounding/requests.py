"""What is asked for, its fields each within their limits."""

from dataclasses import dataclass

from app.grounding.tasks import Task
from app.pictures.marks import BoxFormat

MAX_SEED = 2**63 - 1


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
    """A request whose fields are each within their limits.

    Attributes:
        image: the picture's file.
        task: what is asked for.
        text: the phrase, the expression, the question or the raw prompt.
        regions: places that the prompt speaks of.
        box_format: of the regions' boxes.
        grounding: whether boxes are asked for.
        jpeg_round_trip: whether the picture passes through JPEG first.
        max_new_tokens: 1…1024.
        no_repeat_ngram_size: 0…8; none: the checkpoint's.
        temperature: 0…2.
        top_k: ≥ 0.
        top_p: (0, 1].
        seed: 0…2⁶³−1; none: one is chosen.
    """

    image: bytes
    task: Task
    text: str | None = None
    regions: tuple[UserRegion, ...] = ()
    box_format: BoxFormat = "pixel"
    grounding: bool = True
    jpeg_round_trip: bool = False
    max_new_tokens: int = 128
    no_repeat_ngram_size: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

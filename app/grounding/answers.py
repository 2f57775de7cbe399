"""What the service answers: text, entities with boxes and scores, what was used."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.grounding.boxes import CellPair
from app.ipc.engine_messages import FinishReason
from app.pictures.marks import Box, Mark


@dataclass(frozen=True)
class AnswerBox:
    """A place in the picture.

    Attributes:
        xyxy: in pixels of the upright picture.
        xyxy_normalized: 0…1.
        patch_indices: the cells of its upper-left and lower-right corner.
        score: the geometric mean of the probabilities of its two location tokens; none for a box
            that the prompt brought.
    """

    xyxy: Box
    xyxy_normalized: Box
    patch_indices: CellPair
    score: float | None


@dataclass(frozen=True)
class Entity:
    """A phrase of the text and where it is in the picture.

    Attributes:
        phrase: none for a box without one.
        span: start and end in the text, in code points; empty without a phrase.
        from_prompt: whether the boxes were sent with the request.
    """

    phrase: str | None
    span: tuple[int, int]
    from_prompt: bool
    boxes: tuple[AnswerBox, ...]


@dataclass(frozen=True)
class ImageFacts:
    """The picture that the boxes refer to.

    Attributes:
        width: of the upright picture, pixels.
        exif_orientation: what the file asked for, 1…8.
    """

    width: int
    height: int
    exif_orientation: int


@dataclass(frozen=True)
class Usage:
    """Tokens.

    Attributes:
        prompt_tokens: those of the picture included.
        completion_tokens: generated, the end token included.
        cached_tokens: prompt tokens whose keys and values were at hand.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class Timings:
    """Seconds, from the complete headers on.

    Attributes:
        queue_s: waiting for a slot.
        preprocess_s: decoding and squashing the picture.
        time_to_first_token_s: until the first token.
    """

    queue_s: float
    preprocess_s: float
    time_to_first_token_s: float
    total_s: float


@dataclass(frozen=True)
class GroundedText:
    """What the tokens say.

    Attributes:
        text: prompt and answer, without tags.
        answer: the text from `answer_start` on.
        answer_start: in code points.
        entities: in the order written, those of the prompt first.
        markup: prompt and answer, tags included.
        finish_reason: `stop`, or `length` when the limit ended the answer.
    """

    text: str
    answer: str
    answer_start: int
    entities: tuple[Entity, ...]
    markup: str
    finish_reason: FinishReason


@dataclass(frozen=True)
class Answer:
    """The whole answer to one request.

    Attributes:
        model: what the model is called.
        grounded: what the model said.
        seed: what randomness came from; none when there was none.
        usage: tokens.
        timings: seconds.
    """

    id: str
    model: str
    task: str
    grounded: GroundedText
    image: ImageFacts
    seed: int | None
    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class NewText:
    """The next part of the answer's text, final.

    Attributes:
        text: not empty; joined, all of them are `GroundedText.answer`.
    """

    text: str


@dataclass(frozen=True)
class NewEntity:
    """An entity that is complete while the answer is still being written.

    Attributes:
        index: in `GroundedText.entities`.
        entity: as it stands there.
    """

    index: int
    entity: Entity


AnswerEvent = NewText | NewEntity
"""What can be told before the answer is complete."""


def marks_of(entities: Sequence[Entity], *, shows_scores: bool) -> list[Mark]:
    """What to draw for the entities of an answer, in pixels of its picture."""
    return [
        Mark(
            label=entity.phrase,
            boxes=tuple(box.xyxy for box in entity.boxes),
            scores=tuple(box.score for box in entity.boxes) if shows_scores else (),
        )
        for entity in entities
    ]

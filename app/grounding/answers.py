"""The parts of an answer: text, entities with boxes and scores, token counts and timings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.grounding.boxes import CellPair
from app.ipc.engine_messages import FinishReason
from app.pictures.marks import Box, Mark

DrawnBoxes = Literal["refined", "coarse"]
"""Boxes to draw: those between the cells, or those that the location tokens name."""


@dataclass(frozen=True)
class AnswerBox:
    """One bounding box of an entity.

    Attributes:
        xyxy: in pixels of the upright picture.
        xyxy_normalized: 0…1.
        patch_indices: the cells of the upper-left and lower-right corner.
        score: the geometric mean of the probabilities of the two location tokens; `None` for a box
            from the prompt.
        xyxy_refined: the box between the cells, in pixels; `None` unless both corners were
            generated.
        xyxy_refined_normalized: the same box, 0…1.
        confidence: the expected intersection over union of the refined box with the true one, 0…1,
            corrected by the checkpoint's calibration.
    """

    xyxy: Box
    xyxy_normalized: Box
    patch_indices: CellPair
    score: float | None
    xyxy_refined: Box | None = None
    xyxy_refined_normalized: Box | None = None
    confidence: float | None = None

    def to_draw(self, kind: DrawnBoxes) -> Box:
        """Return the box to draw, in pixels; a box that has no refined form is drawn as it is."""
        return self.xyxy if kind == "coarse" or self.xyxy_refined is None else self.xyxy_refined


@dataclass(frozen=True)
class Entity:
    """A phrase of the text and its boxes in the picture.

    Attributes:
        phrase: `None` for a box without a phrase.
        span: start and end in the text, in code points; empty without a phrase.
        from_prompt: whether the boxes were sent with the request.
    """

    phrase: str | None
    span: tuple[int, int]
    from_prompt: bool
    boxes: tuple[AnswerBox, ...]


@dataclass(frozen=True)
class ImageFacts:
    """Facts about the picture that the boxes refer to.

    Attributes:
        width: of the upright picture, in pixels.
        exif_orientation: as stored in the file, 1…8.
    """

    width: int
    height: int
    exif_orientation: int


@dataclass(frozen=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt_tokens: includes those of the picture.
        completion_tokens: generated, including the end token.
        cached_tokens: prompt tokens whose keys and values were taken from the cache.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    def __add__(self, other: "Usage") -> "Usage":
        """Return the counts of both together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class Timings:
    """Durations in seconds, measured from the arrival of the complete headers.

    Attributes:
        queue_s: waiting for a slot.
        preprocess_s: decoding and resizing the picture.
        time_to_first_token_s: until the first token.
    """

    queue_s: float
    preprocess_s: float
    time_to_first_token_s: float
    total_s: float


@dataclass(frozen=True)
class GroundedText:
    """The text and the entities of an answer.

    Attributes:
        text: prompt and answer, without tags.
        answer: the part of `text` from `answer_start` on.
        answer_start: in code points.
        content_start: where the content begins: the answer, and before it the phrase at the end of
            the prompt, whose boxes the model wrote.
        entities: in the order of the text, those of the prompt first.
        markup: prompt and answer, including tags.
        finish_reason: `stop`, or `length` when the token limit ended the answer.
    """

    text: str
    answer: str
    answer_start: int
    content_start: int
    entities: tuple[Entity, ...]
    markup: str
    finish_reason: FinishReason

    @property
    def content(self) -> str:
        """The part of `text` that a reader without the prompt needs."""
        return self.text[self.content_start :]

    @property
    def content_entities(self) -> tuple[Entity, ...]:
        """The entities that the model located, with spans in `content`."""
        start = self.content_start
        return tuple(
            replace(entity, span=(entity.span[0] - start, entity.span[1] - start))
            for entity in self.entities
            if not entity.from_prompt and entity.span[0] >= start
        )


@dataclass(frozen=True)
class AnswerToken:
    """One generated token.

    Attributes:
        markup: what the token adds to the markup; empty while a character is incomplete.
        log_probability: natural logarithm.
    """

    markup: str
    log_probability: float


@dataclass(frozen=True)
class Answer:
    """The whole answer to one request.

    Attributes:
        model: the name of the model.
        is_calibrated: whether the checkpoint has a calibration of the confidence.
        notice: what a user has to know about the model before trusting the answer, or `None`.
        seed: of the random sampling; `None` for greedy decoding.
        tokens: those of the answer, without the end token.
    """

    id: str
    model: str
    task: str
    grounded: GroundedText
    image: ImageFacts
    is_calibrated: bool
    notice: str | None
    seed: int | None
    usage: Usage
    timings: Timings
    tokens: tuple[AnswerToken, ...] = ()


@dataclass(frozen=True)
class NewText:
    """The next final part of the answer's text.

    Attributes:
        text: not empty; the texts of all events, joined, equal `GroundedText.answer`.
        lead: the part of the prompt that precedes the first text in `GroundedText.content`.
    """

    text: str
    lead: str = ""


@dataclass(frozen=True)
class NewEntity:
    """An entity that became complete while the model was still generating.

    Attributes:
        index: in `GroundedText.entities`.
        entity: equal to the entry at `index`.
    """

    index: int
    entity: Entity


AnswerEvent = NewText | NewEntity
"""An event that is sent before the answer is complete."""


def marks_of(
    entities: Sequence[Entity], *, shows_scores: bool, kind: DrawnBoxes = "refined"
) -> list[Mark]:
    """Return the marks to draw for the entities of an answer, in pixels of its picture."""
    return [
        Mark(
            label=entity.phrase,
            boxes=tuple(box.to_draw(kind) for box in entity.boxes),
            scores=tuple(box.score for box in entity.boxes) if shows_scores else (),
        )
        for entity in entities
    ]

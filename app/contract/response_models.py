"""The fields of responses: half of the HTTP contract. OpenAPI is generated from them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contract.fields import Pixels, Score, Seconds, Seed, Share
from app.errors import FieldError
from app.grounding.answers import Answer
from app.pictures.workers.messages import Abilities

Access = Literal["denied", "not denied"]

UNITS = (
    "Offsets count Unicode code points of `text`. Python slices by code points; in JavaScript use "
    "`Array.from(text).slice(start, end).join('')`, in Swift `unicodeScalars`, in Java "
    "`offsetByCodePoints`."
)

NOTICE = (
    "What a person who reads the answer has to know about the model: the embedded checkpoint only "
    "knows drawn shapes. Null for any other checkpoint."
)


class _FromAnswer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class BoxBody(_FromAnswer):
    """A bounding box."""

    xyxy: list[float] = Field(
        min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the upright picture."
    )
    xyxy_normalized: list[float] = Field(
        min_length=4, max_length=4, description="The same box in units of width and height, 0…1."
    )
    patch_indices: list[int] = Field(
        min_length=2,
        max_length=2,
        description="Upper-left and lower-right cell of the model's 32×32 grid.",
    )
    score: Score | None = Field(
        description="A relative confidence: the geometric mean of the probabilities of the box's "
        "two location tokens. Null for a box that was sent with the request."
    )
    xyxy_refined: Annotated[list[Pixels], Field(min_length=4, max_length=4)] | None = Field(
        description="A finer box, in pixels: the mean of the boxes that the model considered near "
        "the chosen cells. Null for a box that was sent with the request."
    )
    xyxy_refined_normalized: Annotated[list[Share], Field(min_length=4, max_length=4)] | None = (
        Field(description="The same box in units of width and height, 0…1.")
    )
    confidence: Score | None = Field(
        description="The expected intersection over union of `xyxy_refined` with the true box, "
        "under the model's own probabilities, 0…1. It supposes that the object is in the picture. "
        "Null for a box that was sent with the request."
    )


class EntityBody(_FromAnswer):
    """A phrase of the text and its boxes."""

    phrase: str | None = Field(description="Null for a box without a phrase.")
    span: list[int] = Field(
        min_length=2, max_length=2, description=f"Start and end of the phrase in `text`. {UNITS}"
    )
    from_prompt: bool = Field(description="Whether the boxes were sent with the request.")
    boxes: list[BoxBody]


class ImageBody(_FromAnswer):
    """The picture that the boxes refer to: upright, at full size."""

    width: int
    height: int
    exif_orientation: int = Field(description="Orientation tag of the file, 1…8; already applied.")


class UsageBody(_FromAnswer):
    """Numbers of tokens."""

    prompt_tokens: int = Field(description="Includes the tokens of the picture.")
    completion_tokens: int = Field(description="Generated tokens, including the end token.")
    cached_tokens: int = Field(description="Prompt tokens that were reused from a recent request.")


class TimingsBody(_FromAnswer):
    """Durations in seconds."""

    queue_s: Seconds = Field(description="Wait for a slot.")
    preprocess_s: Seconds = Field(description="Decoding and resizing of the picture.")
    time_to_first_token_s: Seconds = Field(
        description="From the complete headers to the first token."
    )
    total_s: Seconds = Field(description="From the complete headers to the answer.")


class AnswerBody(BaseModel):
    """The answer to a request: text and boxes."""

    id: str = Field(description="Equal to the `X-Request-ID` header.")
    model: str
    task: str
    text: str = Field(description="Prompt and answer, without tags.")
    answer: str = Field(description="`text` from `answer_start` on.")
    answer_start: int = Field(description=f"Where the answer begins in `text`. {UNITS}")
    entities: list[EntityBody]
    markup: str = Field(description="Prompt and answer as the model wrote them, tags included.")
    image: ImageBody
    finish_reason: Literal["stop", "length"] = Field(
        description="`length`: `max_new_tokens` ended the answer."
    )
    calibrated: bool = Field(
        description="Whether the checkpoint has a calibration: `confidence` was compared with "
        "measured boxes. Otherwise it only ranks boxes."
    )
    notice: str | None = Field(description=NOTICE)
    seed: Seed | None = Field(description="Null when the answer was not sampled.")
    usage: UsageBody
    timings: TimingsBody

    @classmethod
    def from_answer(cls, answer: Answer) -> "AnswerBody":
        """Return the answer in its JSON form."""
        grounded = answer.grounded
        return cls(
            id=answer.id,
            model=answer.model,
            task=answer.task,
            text=grounded.text,
            answer=grounded.answer,
            answer_start=grounded.answer_start,
            entities=[EntityBody.model_validate(entity) for entity in grounded.entities],
            markup=grounded.markup,
            image=ImageBody.model_validate(answer.image),
            finish_reason=grounded.finish_reason,
            calibrated=answer.is_calibrated,
            notice=answer.notice,
            seed=answer.seed,
            usage=UsageBody.model_validate(answer.usage),
            timings=TimingsBody.model_validate(answer.timings),
        )


class AnnotatedBody(BaseModel):
    """An annotated picture inside a JSON answer."""

    media_type: str
    base64: str = Field(description="The picture's file in base64: standard alphabet, padded.")


class AnnotatedAnswerBody(AnswerBody):
    """An answer, and the picture with the answer drawn on it."""

    annotated: AnnotatedBody


class DrawingBody(BaseModel):
    """A picture with the requested entities drawn on it."""

    annotated: AnnotatedBody


class TokenEvent(_FromAnswer):
    """The event `token`: the next part of the answer's text."""

    text: str = Field(description="Never changes later; all texts joined are `answer`.")


class EntityEvent(_FromAnswer):
    """The event `entity`: one complete entity, while the answer may still continue."""

    index: int = Field(description="Index in `entities` of the whole answer.")
    entity: EntityBody


class FieldProblem(BaseModel):
    """The mistake in one field."""

    field: str
    message: str

    @classmethod
    def from_error(cls, error: FieldError) -> "FieldProblem":
        """Return the error in its JSON form."""
        return cls(field=error.field, message=error.message)


class Problem(BaseModel):
    """An error in the format of RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the kind of error.")
    request_id: str
    errors: list[FieldProblem] | None = Field(None, description="One entry per wrong field.")


class PictureProcessesBody(BaseModel):
    """Abilities of the processes that decode pictures, and what the kernel denies them."""

    reads_heic: bool = Field(
        description="Whether HEIC is accepted: the extra `heic` is installed and safe."
    )
    files: Access = Field(description="Opening files; denied by Landlock or seccomp.")
    network: Access = Field(description="Opening connections; denied by seccomp.")
    programs: Access = Field(description="Starting programs; denied by seccomp.")

    @classmethod
    def from_abilities(cls, abilities: Abilities) -> "PictureProcessesBody":
        """Return the abilities in their JSON form."""
        by_seccomp: Access = "denied" if abilities.seccomp else "not denied"
        files: Access = "denied" if abilities.seccomp or abilities.landlock else "not denied"
        return cls(reads_heic=abilities.heic, files=files, network=by_seccomp, programs=by_seccomp)


class VersionBody(BaseModel):
    """Version, model, defaults and limits of the running service."""

    version: str
    model: dict[str, Any]
    defaults: dict[str, Any]
    limits: dict[str, Any]
    picture_processes: PictureProcessesBody

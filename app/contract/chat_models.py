"""The fields of chat requests in the form of OpenAI's clients. OpenAPI is generated from them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from app.contract.chat_messages import Question
from app.contract.detections_schema import wants_detections
from app.contract.request_models import GroundBody
from app.contract.validation import LIST, WORD, validate
from app.errors import InvalidRequest
from app.grounding.tasks import task_for_text
from app.ipc.sampling_limits import MAX_NEW_TOKENS, MAX_SEED

UNSUPPORTED_VALUE = "unsupported_value"
MAX_MESSAGES = 4_096  # longer than any conversation
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 200

PASSED_ON = (
    "task", "regions", "box_format", "grounding", "temperature", "top_p", "top_k", "seed",
    "no_repeat_ngram_size", "jpeg_round_trip", "priority",
)  # fmt: skip
"""Fields that mean the same as in `POST /v1/ground`; most of them are not OpenAI's."""

Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


def _stops_tag(value: Any) -> str:
    return LIST if isinstance(value, list) else WORD


Stops = Annotated[
    Annotated[Stop, Tag(WORD)] | Annotated[list[Stop], Field(max_length=MAX_STOPS), Tag(LIST)],
    Discriminator(_stops_tag),
]


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = Field(
        None, description="Whether the stream ends with the numbers of tokens."
    )


class ChatBody(BaseModel):
    """The fields that have an effect; all others are ignored, so that newer clients keep working.

    `model` may be any name, because one model is served. Tools are ignored.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    messages: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_MESSAGES,
        description="The last user message has the text, and it or one before it the picture, as a "
        "part of type `image_url` with a data URI. Other messages are ignored.",
    )
    max_completion_tokens: int | None = Field(
        None, ge=1, description="Longest answer, in tokens; shortened to what fits."
    )
    max_tokens: int | None = Field(None, ge=1, description="The older name of the same.")
    stop: Stops | None = Field(None, description="The answer ends before the first of these texts.")
    n: int | None = Field(None, description="Only 1 is supported.")
    logprobs: bool | None = Field(
        None, description="Whether the answer has the log-probabilities of its tokens."
    )
    top_logprobs: int | None = Field(None, description="Only 0 is supported.")
    stream: bool | None = Field(None, description="`true` returns the answer as a stream.")
    stream_options: StreamOptions | None = Field(None, description="Options of a stream.")
    response_format: dict[str, Any] | None = Field(
        None,
        description="`json_object`, or `json_schema` with the schema `ChatDetections`: the content "
        "is JSON with the located boxes.",
    )

    @field_validator("n")
    @classmethod
    def _check_n(cls, n: int | None) -> int | None:
        if n not in (None, 1):
            raise InvalidRequest("n", "must be 1: send several requests", code=UNSUPPORTED_VALUE)
        return n

    @field_validator("top_logprobs")
    @classmethod
    def _check_top_logprobs(cls, number: int | None) -> int | None:
        if number:
            message = "must be 0: only the chosen tokens have probabilities"
            raise InvalidRequest("top_logprobs", message, code=UNSUPPORTED_VALUE)
        return number

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts before the first of which the answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def wants_detections(self) -> bool:
        """Whether the content is JSON.

        Raises:
            InvalidRequest: the request requires JSON that the model cannot write.
        """
        return wants_detections(self.response_format)

    def sent_fields(self, question: Question) -> dict[str, str]:
        """Return the paths of this request's fields, by those of `to_ground_body`."""
        limit = "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"
        return {"text": question.text_field, "max_new_tokens": limit}

    def to_ground_body(self, question: Question) -> GroundBody:
        """Return the same request for `POST /v1/ground`.

        Raises:
            InvalidRequest: a field is outside its limits; it has the name of `POST /v1/ground`.
        """
        sent = self.model_extra or {}
        fields = {name: sent[name] for name in PASSED_ON if name in sent}
        fields.setdefault("task", task_for_text(question.text))
        if question.text is not None:
            fields["text"] = question.text
        if isinstance(fields.get("seed"), int):
            fields["seed"] %= MAX_SEED + 1  # OpenAI's seeds may be negative
        limit = self.max_completion_tokens or self.max_tokens
        if limit is not None:
            fields["max_new_tokens"] = min(limit, MAX_NEW_TOKENS)
        return validate(GroundBody, fields, strict=False)

"""The answers to chats in the form of OpenAI's clients, whole and in chunks."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from app.contract.detections_schema import ChatDetections
from app.contract.fields import Score
from app.contract.response_models import NOTICE, BoxBody, ImageBody
from app.grounding.answers import Answer, AnswerToken, Entity, Usage

FinishReasonName = Literal["stop", "length"]


class ChatEntity(BaseModel):
    """A located phrase of the content."""

    phrase: str | None = Field(description="Null for a box without a phrase.")
    span: list[int] = Field(
        min_length=2, max_length=2, description="Start and end in `content`, in code points."
    )
    boxes: list[BoxBody]

    @classmethod
    def from_entity(cls, entity: Entity) -> Self:
        """Return the entity in its JSON form."""
        boxes = [BoxBody.model_validate(box) for box in entity.boxes]
        return cls(phrase=entity.phrase, span=list(entity.span), boxes=boxes)


class ChatGrounding(BaseModel):
    """The boxes of an answer; a member that OpenAI's own answers do not have."""

    task: str
    entities: list[ChatEntity]
    image: ImageBody
    calibrated: bool = Field(description="Whether the checkpoint's confidence was measured.")
    notice: str | None = Field(description=NOTICE)

    @classmethod
    def from_answer(cls, answer: Answer) -> Self:
        """Return the boxes of an answer in their JSON form."""
        return cls(
            task=answer.task,
            entities=[ChatEntity.from_entity(e) for e in answer.grounded.content_entities],
            image=ImageBody.model_validate(answer.image),
            calibrated=answer.is_calibrated,
            notice=answer.notice,
        )


class TokenLogprob(BaseModel):
    """The log-probability of one token."""

    token: str = Field(description="What the token adds to the markup, tags included.")
    logprob: Score
    bytes: list[int]
    top_logprobs: list[Any] = []

    @classmethod
    def from_token(cls, token: AnswerToken) -> Self:
        """Return the token in its JSON form."""
        data = list(token.markup.encode(errors="replace"))
        return cls(token=token.markup, logprob=token.log_probability, bytes=data)


class Logprobs(BaseModel):
    """The log-probabilities of the generated tokens."""

    content: list[TokenLogprob]

    @classmethod
    def from_answer(cls, answer: Answer) -> Self:
        """Return those of all tokens of an answer."""
        return cls(content=[TokenLogprob.from_token(token) for token in answer.tokens])


class ChatUsage(BaseModel):
    """Numbers of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]

    @classmethod
    def from_usage(cls, usage: Usage) -> Self:
        """Return the counts in their JSON form."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details={"cached_tokens": usage.cached_tokens},
        )


class ChatMessage(BaseModel):
    """The message of the assistant."""

    role: Literal["assistant"] = "assistant"
    content: str = Field(description="The answer, or the located phrase, or JSON.")
    refusal: str | None = None  # always null, but generators of clients fail on such a type
    grounding: ChatGrounding | None = Field(
        description="The boxes; null if the content is JSON, which contains them."
    )


class ChatChoice(BaseModel):
    """The only answer."""

    index: int = 0
    message: ChatMessage
    logprobs: Logprobs | None
    finish_reason: FinishReasonName


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Unix time, in seconds.")
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage


class ChatDelta(BaseModel):
    """The next part of a message; members that are absent do not change."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    grounding: ChatGrounding | None = None


class ChunkChoice(BaseModel):
    """The next part of the only answer."""

    index: int = 0
    delta: ChatDelta
    logprobs: Logprobs | None = None
    finish_reason: FinishReasonName | None = None


class ChatChunk(BaseModel):
    """A part of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: ChatUsage | None = None


def content_of(answer: Answer, *, as_detections: bool) -> str:
    """Return the content of an answer: text, or the boxes as JSON."""
    if not as_detections:
        return answer.grounded.content
    return ChatDetections.from_grounded(answer.grounded).model_dump_json()


def grounding_of(answer: Answer, *, as_detections: bool) -> ChatGrounding | None:
    """Return the boxes of an answer, unless its content has them."""
    return None if as_detections else ChatGrounding.from_answer(answer)

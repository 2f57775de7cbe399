"""Writes an answer as the chunks that OpenAI's clients read from a stream."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi.sse import format_sse_event

from app.contract.chat_answers import (
    ChatChunk,
    ChatDelta,
    ChatUsage,
    ChunkChoice,
    Logprobs,
    content_of,
    grounding_of,
)
from app.grounding.answers import Answer, AnswerEvent, NewText
from app.http.events import EventForms, event_frame

_END = format_sse_event(data_str="[DONE]")


@dataclass
class ChunkWriter:
    """Writes the chunks of one stream.

    Attributes:
        id: of the answer.
        created: Unix time, in seconds.
        model: the name of the model.
        as_detections: whether the content is JSON, which is complete only at the end.
        has_logprobs: whether the last part has the log-probabilities of all tokens.
        has_usage: whether a chunk with the numbers of tokens precedes the end.
    """

    id: str
    created: int
    model: str
    as_detections: bool
    has_logprobs: bool
    has_usage: bool
    _content: str = field(default="", init=False)
    _has_begun: bool = field(default=False, init=False)

    def forms(self) -> EventForms[AnswerEvent, Answer]:
        """Return how the stream's events are written."""
        return EventForms(self._part, self._done, lambda answer: answer.grounded.finish_reason)

    def _part(self, event: AnswerEvent) -> bytes:
        if self.as_detections or not isinstance(event, NewText):
            return b""
        return b"".join(self._text(event.lead + event.text))

    def _done(self, answer: Answer) -> bytes:
        content = content_of(answer, as_detections=self.as_detections)
        frames = list(self._text(content.removeprefix(self._content)))
        grounding = grounding_of(answer, as_detections=self.as_detections)
        last = ChunkChoice(
            delta=ChatDelta(grounding=grounding),
            logprobs=Logprobs.from_answer(answer) if self.has_logprobs else None,
            finish_reason=answer.grounded.finish_reason,
        )
        frames.append(self._chunk([last]))
        if self.has_usage:
            frames.append(self._chunk([], ChatUsage.from_usage(answer.usage)))
        return b"".join([*frames, _END])

    def _text(self, text: str) -> Iterator[bytes]:
        """Yield the chunk of a text, after that of the role."""
        if not self._has_begun:
            self._has_begun = True
            yield self._chunk([ChunkChoice(delta=ChatDelta(role="assistant", content=""))])
        if text:
            self._content += text
            yield self._chunk([ChunkChoice(delta=ChatDelta(content=text))])

    def _chunk(self, choices: list[ChunkChoice], usage: ChatUsage | None = None) -> bytes:
        chunk = ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=usage
        )
        return event_frame(None, _without_absent(chunk.model_dump()))


def _without_absent(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return a chunk without the members of deltas that do not change, and without empty usage."""
    for choice in chunk["choices"]:
        choice["delta"] = {name: v for name, v in choice["delta"].items() if v is not None}
    return {name: value for name, value in chunk.items() if name != "usage" or value is not None}

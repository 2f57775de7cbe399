"""Reads a stream of Server-Sent Events piece by piece: text, entities, then the whole answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kosmos2_client.entities import Entity
from kosmos2_client.errors import ConnectionFailed, InvalidAnswer
from kosmos2_client.replies import problem_of
from kosmos2_client.results import Grounding


@dataclass(frozen=True)
class NewText:
    """Text that is final; all texts of a stream, joined, are the answer."""

    text: str


@dataclass(frozen=True)
class NewEntity:
    """An entity whose boxes are complete.

    Attributes:
        index: in `Grounding.entities`.
    """

    index: int
    entity: Entity


@dataclass(frozen=True)
class Done:
    """The last event: the whole answer."""

    result: Grounding


Event = NewText | NewEntity | Done


class EventReader:
    """Turns the bytes of a stream into events; a stream without a last event is an error."""

    def __init__(self) -> None:
        self._unread = b""
        self._is_done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete.

        Raises:
            ServiceProblem: the stream ends with an error.
            InvalidAnswer: an event has another form.
        """
        *frames, self._unread = (self._unread + data).split(b"\n\n")
        for frame in frames:
            event = _event_of(frame)
            if event is not None:
                self._is_done = self._is_done or isinstance(event, Done)
                yield event

    def close(self) -> None:
        """Check that the stream was complete.

        Raises:
            ConnectionFailed: it was cut.
        """
        if not self._is_done:
            raise ConnectionFailed("the stream ended before the answer was complete")


def _event_of(frame: bytes) -> Event | None:
    """Return the event of a frame; `None` for a comment or an unknown event."""
    try:
        fields = dict(line.partition(": ")[::2] for line in frame.decode().split("\n"))
        name = fields.get("event")
        data: Any = json.loads(fields.get("data", "null"))
        if name == "token":
            return NewText(data["text"])
        if name == "entity":
            return NewEntity(data["index"], Entity.from_json(data["entity"]))
        if name == "error":
            raise problem_of(data["status"], data)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidAnswer(f"not an event of /v1/ground: {error!r}") from None
    return Done(Grounding.from_json(data)) if name == "done" else None

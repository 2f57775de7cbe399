"""Assembles Server-Sent Events from the lines of a response."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        name: `entity`, `token`, `done` or `error`.
        json_text: data of the event, not parsed: a load reads the data of few events.
    """

    name: str
    json_text: str

    @cached_property
    def data(self) -> Any:
        """The parsed JSON."""
        return json.loads(self.json_text)


class EventAssembler:
    """Collects lines until an event is complete, and skips comments.

    >>> assembler = EventAssembler()
    >>> lines = [": ping", "", "event: token", 'data: {"text": "a"}', ""]
    >>> [event.data for line in lines if (event := assembler.add(line))]
    [{'text': 'a'}]
    """

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    @property
    def is_inside_event(self) -> bool:
        """Whether an event is incomplete: a stream that ends now is truncated."""
        return bool(self._fields)

    def add(self, line: str) -> Event | None:
        """Add a line, without its line ending; return the event that it completes.

        Raises:
            ValueError: an event has no data, or repeats a field, which this service never does.
        """
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            if name in self._fields:
                raise ValueError(f"an event has two lines of {name!r}")
            self._fields[name] = value
        if line or not self._fields:
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            raise ValueError("an event has no data")
        return Event(fields.get("event", "message"), fields["data"])

"""Reads Server-Sent Events as they arrive."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        name: `entity`, `token`, `done` or `error`.
        data: its JSON, read.
    """

    name: str
    data: Any


def events_of(response: httpx.Response) -> Iterator[Event]:
    """The events of a response that is being read."""
    return read_events(response.iter_lines())


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Each event has two lines, `event:` and `data:`, and an empty one; comments are passed over.

    >>> list(read_events(["event: token", 'data: {"text": "a"}', "", ": ping", ""]))
    [Event(name='token', data={'text': 'a'})]
    """
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            assert name not in fields, "the data of an event is one line"
            fields[name] = value
            continue
        if fields.keys() != {""}:
            yield Event(fields["event"], json.loads(fields["data"]))
        fields = {}
    assert not fields, "the last event is cut off"


def text_of(events: Iterable[Event]) -> str:
    """The texts of the `token` events, joined."""
    return "".join(event.data["text"] for event in events if event.name == "token")

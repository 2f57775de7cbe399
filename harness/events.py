"""Reads Server-Sent Events as they arrive."""

from collections.abc import AsyncGenerator, Iterable, Iterator

import httpx

from app.bench.event_stream import Event, EventAssembler


def events_of(response: httpx.Response) -> Iterator[Event]:
    """Yield the events of a streaming response."""
    return read_events(response.iter_lines())


async def async_events_of(response: httpx.Response) -> AsyncGenerator[Event, None]:
    """Yield the events of a streaming response.

    Raises:
        ValueError: the response ends inside an event.
    """
    assembler = EventAssembler()
    async for line in response.aiter_lines():
        if (event := assembler.add(line)) is not None:
            yield event
    _check_end(assembler)


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events in lines of text.

    Raises:
        ValueError: the lines end inside an event.

    >>> list(read_events(["event: token", 'data: {"text": "a"}', "", ": ping", ""]))
    [Event(name='token', json_text='{"text": "a"}')]
    """
    assembler = EventAssembler()
    for line in lines:
        if (event := assembler.add(line)) is not None:
            yield event
    _check_end(assembler)


def _check_end(assembler: EventAssembler) -> None:
    if assembler.is_inside_event:
        raise ValueError("the last event is cut off")


def text_of(events: Iterable[Event]) -> str:
    """Return the texts of the `token` events, joined."""
    return "".join(event.data["text"] for event in events if event.name == "token")

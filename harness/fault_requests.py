"""Requests that tests of faults send to a running service."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from harness.events import Event, events_of
from harness.pictures import picture_file

PICTURE = picture_file()
TIMEOUT_S = 300


def ask(url: str, **fields: object) -> httpx.Response:
    """Ask for a caption of two tokens, unless the fields say otherwise."""
    texts = {"task": "brief_caption", "max_new_tokens": "2"} | _texts(fields)
    return httpx.post(f"{url}/v1/ground", files={"image": PICTURE}, data=texts, timeout=TIMEOUT_S)


@contextmanager
def streaming(url: str, **fields: object) -> Iterator[Iterator[Event]]:
    """The events of an answer, of which the first token has come."""
    texts = {"task": "brief_caption", "stream": "true"} | _texts(fields)
    with httpx.stream(
        "POST", f"{url}/v1/ground", files={"image": PICTURE}, data=texts, timeout=TIMEOUT_S
    ) as response:
        assert response.status_code == 200, response.read()
        events = events_of(response)
        first = next(events)
        yield _chain(first, events)


def _chain(first: Event, others: Iterator[Event]) -> Iterator[Event]:
    yield first
    yield from others


def _texts(fields: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}

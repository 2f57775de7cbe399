"""Requests for tests that inject faults into a running service."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from harness import loopback
from harness.events import Event, events_of
from harness.pictures import picture_file

PICTURE = picture_file()
TIMEOUT_S = 300


def request_caption(url: str, **fields: object) -> httpx.Response:
    """Request a caption of two tokens, unless the fields override it."""
    texts = {"task": "brief_caption", "max_new_tokens": "2"} | _texts(fields)
    return loopback.post(
        f"{url}/v1/ground", files={"image": PICTURE}, data=texts, timeout=TIMEOUT_S
    )


@contextmanager
def stream_caption(url: str, **fields: object) -> Iterator[Iterator[Event]]:
    """Yield the events of an answer after its first token has arrived."""
    texts = {"task": "brief_caption", "stream": "true"} | _texts(fields)
    with loopback.stream(
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

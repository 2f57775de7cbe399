"""Requests to a running service that tests of faults make, and what must be equal in answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from harness.events import Event, events_of
from harness.pictures import picture_file
from harness.service import RunningService

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


def same(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer depends on its request alone, without rounding: no times, no scores."""
    kept = {name: value for name, value in answer.items() if name not in {"id", "timings"}}
    kept["usage"] = {**kept["usage"], "cached_tokens": None}
    kept["entities"] = [_without_scores(entity) for entity in answer["entities"]]
    return kept


def _without_scores(entity: dict[str, Any]) -> dict[str, Any]:
    boxes = [{**box, "score": box["score"] is not None} for box in entity["boxes"]]
    return {**entity, "boxes": boxes}


def child_of(service: RunningService, module: str) -> psutil.Process:
    """The process of a service that runs a module."""
    children = psutil.Process(service.process.pid).children()
    return next(child for child in children if module in child.cmdline())


def engine_of(service: RunningService) -> psutil.Process:
    """The engine's process."""
    return child_of(service, "app.engine.process")

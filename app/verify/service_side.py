"""Answers of a running `kosmos2 serve`: whole and streamed over HTTP, and the time of a caption."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from app.bench.event_stream import EventAssembler
from app.errors import StartupError
from app.settings import without_settings
from app.supervisor.child_service import child_service
from app.supervisor.ready_line import read_ready
from app.verify.checks import GivenAnswer
from app.verify.recording import RecordedAnswer, entities_of

_ANSWER_TIMEOUT_S = 3600
_TIMED_REQUESTS = 3


@dataclass(frozen=True)
class ServiceAnswers:
    """Answers of one service.

    Attributes:
        whole: as JSON.
        streamed: assembled from events, which must agree with the `done` event.
        stream_errors: one line per stream whose events disagree.
        caption_s: median time of a brief caption of a known picture, in seconds.
    """

    whole: tuple[GivenAnswer, ...]
    streamed: tuple[GivenAnswer, ...]
    stream_errors: tuple[str, ...]
    caption_s: float


@contextmanager
def serving(model: Path, device: str, dtype: str) -> Iterator[httpx.Client]:
    """Run `kosmos2 serve` on a free port during the block; yield a client.

    Raises:
        StartupError: the service does not start; it prints the reason itself.
    """
    settings = {
        "MODEL": str(model),
        "DEVICE": device,
        "DTYPE": dtype,
        "LOG_LEVEL": "error",
        "DEADLINE_S": str(_ANSWER_TIMEOUT_S),
    }
    named = {f"KOSMOS2_{name}": value for name, value in settings.items()}
    with child_service(without_settings(os.environ) | named) as service:
        url = read_ready(service.stdout or ())
        if url is None:
            raise StartupError("the service did not start; see the error above")
        with httpx.Client(base_url=url, timeout=_ANSWER_TIMEOUT_S, trust_env=False) as client:
            yield client


def ask_all(
    client: httpx.Client, answers: tuple[RecordedAnswer, ...], picture: bytes
) -> ServiceAnswers:
    """Send every recorded request whole and streamed, and time a caption.

    Raises:
        httpx.HTTPError: the service rejects a request.
    """
    whole, streamed, errors = [], [], []
    for answer in answers:
        whole.append(_given(ask(client, answer.fields, picture)))
        given, error = _ask_streamed(client, answer.fields, picture)
        streamed.append(given)
        errors += [f"{answer.name}: {error}"] if error else []
    caption = {"task": "brief_caption"}
    times = [ask(client, caption, picture)["timings"]["total_s"] for _ in range(_TIMED_REQUESTS)]
    return ServiceAnswers(tuple(whole), tuple(streamed), tuple(errors), median(times))


def ask(client: httpx.Client, fields: dict[str, Any], picture: bytes) -> dict[str, Any]:
    """Return the answer to one request.

    Raises:
        httpx.HTTPError: the service rejects the request.
    """
    response = client.post("/v1/ground", files=_form(fields, picture)).raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def _ask_streamed(
    client: httpx.Client, fields: dict[str, Any], picture: bytes
) -> tuple[GivenAnswer, str | None]:
    """Return the answer of the last event, and an error if the other events differ from it."""
    form, assembler, text = _form({**fields, "stream": True}, picture), EventAssembler(), ""
    entities: list[Any] = []
    with client.stream("POST", "/v1/ground", files=form) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            event = assembler.add(line)
            if event is None:
                continue
            if event.name == "token":
                text += event.data["text"]
            elif event.name == "entity":
                entities.append(event.data)
            elif event.name == "done":
                answer = event.data
                is_same = text == answer["answer"] and len(entities) == len(answer["entities"])
                error = None if is_same else f"the events are {text!r}, not {answer['answer']!r}"
                return _given(answer), error
    raise StartupError("a stream ended without the event `done`")


def _form(fields: dict[str, Any], picture: bytes) -> dict[str, Any]:
    """Return a form: the picture's file, and the fields as one JSON value each."""
    parts: dict[str, Any] = {"image": ("picture", picture)}
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value)
        parts[name] = (None, text.encode())
    return parts


def _given(answer: dict[str, Any]) -> GivenAnswer:
    entities = entities_of(
        (entity["phrase"], entity["span"], [box["xyxy_normalized"] for box in entity["boxes"]])
        for entity in answer["entities"]
    )
    return GivenAnswer(answer["text"], entities, answer["markup"])

"""Chats in the form of OpenAI's clients, known answers to them, and readers of responses."""

import base64
import json
from typing import Any

import httpx

from app.grounding.answers import (
    Answer,
    AnswerBox,
    AnswerToken,
    Entity,
    GroundedText,
    ImageFacts,
    Timings,
    Usage,
)

PNG = "data:image/png;base64," + base64.b64encode(b"picture").decode()
BOX = AnswerBox((6, 4, 32, 24), (0.1, 0.1, 0.5, 0.5), (0, 495), 0.7, None, None, 0.6)
PATH = "/v1/chat/completions"


def answer(
    text: str, answer_start: int, content_start: int, *entities: Entity, task: str = "raw"
) -> Answer:
    grounded = GroundedText(
        text, text[answer_start:], answer_start, content_start, entities, "markup", "stop"
    )
    tokens = (AnswerToken(" a", -0.25), AnswerToken("", -0.5), AnswerToken(" é", -1.0))
    return Answer(
        id="1",
        model="m",
        task=task,
        grounded=grounded,
        image=ImageFacts(64, 48, 1),
        is_calibrated=True,
        notice="a stand-in",
        seed=None,
        usage=Usage(70, 3, 60),
        timings=Timings(0, 0, 0, 0),
        tokens=tokens,
    )


PROMPT_BOX = Entity("it", (0, 2), True, (BOX,))
CAPTION = answer("An image of a dog.", 12, 12, PROMPT_BOX, Entity("a dog", (12, 17), False, (BOX,)))
LOCATED = answer("a dog runs", 6, 0, Entity("a dog", (0, 5), False, (BOX,)))


def image(url: Any = PNG, *, bare: bool = False) -> dict[str, Any]:
    return {"image_url": url if bare else {"url": url, "detail": "low"}, "type": "image_url"}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def error_of(response: httpx.Response) -> dict[str, Any]:
    content = response.json()
    assert content.keys() == {"error"}
    error: dict[str, Any] = content["error"]
    return error


def chunks(response: httpx.Response) -> list[Any]:
    """Return the data of a stream of events without names; the end is not JSON."""
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith("data: ") for frame in frames)
    data = [frame.removeprefix("data: ") for frame in frames]
    return [line if line == "[DONE]" else json.loads(line) for line in data]

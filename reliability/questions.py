"""The questions of chaos: valid ones with comparable answers, and invalid ones to be rejected."""

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from app.bench.workload import embedded_scenes, mixed_workload

BodyKind = Literal["form", "json"]
# The signature decides; the service reads nothing after it.
JPEG_XL = b"\xff\x0a" + bytes(20)
_RAW_PROMPTS = ("<grounding> An image of", "<grounding><phrase> a red circle</phrase>")


# Compared by identity: a question is a key, but its fields cannot be hashed.
@dataclass(frozen=True, eq=False)
class Question:
    """The content of a request, independent of its encoding.

    Attributes:
        fields: the other fields, as in JSON.
        refusal: the error code that it must be rejected with; `None` if it must be answered.
    """

    picture: bytes
    fields: Mapping[str, Any]
    refusal: str | None = None

    def body(self, kind: BodyKind) -> tuple[bytes, str]:
        """Return the body of a request and its content type.

        >>> Question(b"x", {"task": "raw", "text": "a"}).body("json")
        (b'{"image": {"base64": "eA=="}, "task": "raw", "text": "a"}', 'application/json')
        """
        if kind == "json":
            image = {"base64": base64.b64encode(self.picture).decode()}
            return json.dumps({"image": image} | dict(self.fields)).encode(), "application/json"
        form = {name: _as_text(value) for name, value in self.fields.items()}
        # Never sent; httpx only encodes the form.
        request = httpx.Request("POST", "http://-/", files={"image": self.picture}, data=form)
        return request.read(), request.headers["Content-Type"]


def good_questions(count: int, seed: int) -> list[Question]:
    """Return questions of every task; every other one is sampled, with a seed to be repeatable.

    Args:
        count: at least 8.

    >>> {question.fields["task"] for question in good_questions(16, seed=0)} >= {"raw"}
    True
    """
    rng = random.Random(seed)
    scenes = embedded_scenes()
    raw = [{"task": "raw", "text": text} for text in _RAW_PROMPTS]
    workload = mixed_workload(scenes, count - len(raw), seed)
    contents = [(request.picture, _typed(request.fields)) for request in workload]
    contents += [(rng.choice(scenes), fields) for fields in raw]
    return [
        Question(picture, fields | (_sampling(rng) if number % 2 else {}))
        for number, (picture, fields) in enumerate(contents)
    ]


def bad_questions() -> Sequence[Question]:
    """Return one invalid question for each kind of error that has its own code."""
    scene = embedded_scenes()[0]
    caption = {"task": "brief_caption"}
    return (
        Question(b"no picture", caption, "invalid_image"),
        Question(scene[: len(scene) // 2], caption, "invalid_image"),
        Question(JPEG_XL, caption, "unsupported_image_format"),
        Question(scene, {"task": "sing"}, "invalid_request"),
        Question(scene, {"task": "phrase_grounding", "text": "a <pad>"}, "invalid_request"),
        Question(scene, caption | {"max_new_tokens": 600}, "invalid_request"),
    )


def oversized_question(max_body_bytes: int) -> Question:
    """Return a question whose body is longer than the limit."""
    return Question(bytes(max_body_bytes), {"task": "brief_caption"}, "payload_too_large")


def _typed(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a form with the types of JSON."""
    lists = {name: json.loads(value) for name, value in fields.items() if name == "regions"}
    return dict(fields) | lists


def _sampling(rng: random.Random) -> dict[str, Any]:
    return {"temperature": 0.8, "top_p": 0.95, "seed": rng.randrange(2**31)}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

"""Builds the requests of all methods; both clients send what these functions return."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

from kosmos2_client.pictures import Picture, read_picture
from kosmos2_client.replies import Reply, read_json
from kosmos2_client.results import Detections, Grounding, Result
from kosmos2_client.tasks import Task

T = TypeVar("T")
MediaType = Literal["image/png", "image/jpeg", "image/webp"]
Priority = Literal["interactive", "batch"]

_JSON = "application/json"
_MAX_BOXES_PER_ENTITY = 64  # limit of the service


class GroundOptions(TypedDict, total=False):
    """The optional fields of `POST /v1/ground`; docs/requests.md explains them."""

    text: str
    regions: Sequence[Mapping[str, Any]]
    box_format: Literal["pixel", "normalized"]
    grounding: bool
    max_new_tokens: int
    no_repeat_ngram_size: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    jpeg_round_trip: bool
    priority: Priority


class DetectOptions(TypedDict, total=False):
    """The optional fields of `POST /v1/detect`; docs/detection.md explains them."""

    confidence: float
    max_per_class: int
    nms: Mapping[str, Any]
    tiles: str | Mapping[str, Any]
    priority: Priority


class AnnotateOptions(GroundOptions, total=False):
    """The optional fields of `POST /v1/annotate`."""

    task: str
    entities: Sequence[Mapping[str, Any]]
    show_scores: bool
    boxes: Literal["refined", "coarse"]


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its answer.

    Attributes:
        read: returns the result of an answer with status 200.
        image: bytes of the picture's file; `None` for a request without a body.
        fields: the other fields of the form, as text.
        is_stream: whether the answer is a stream of events.
    """

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Reply], T]
    image: bytes | None = None
    fields: Mapping[str, str] | None = None
    accept: str = _JSON
    is_stream: bool = False


def ground(picture: Picture, task: str, options: GroundOptions) -> Call[Grounding]:
    """Return the request for a task.

    Raises:
        InvalidPicture: see `read_picture`; OSError as well.
    """
    fields = _texts({"task": task, **options})
    return Call("POST", "/v1/ground", _read_grounding, read_picture(picture), fields)


def ground_stream(picture: Picture, task: str, options: GroundOptions) -> Call[Reply]:
    """Return the request for a task whose answer is a stream of events.

    Raises:
        InvalidPicture: see `read_picture`; OSError as well.
    """
    fields = _texts({"task": task, **options, "stream": True})
    image = read_picture(picture)
    return Call("POST", "/v1/ground", _whole, image, fields, "text/event-stream", is_stream=True)


def detect(
    picture: Picture, classes: str | Sequence[str], options: DetectOptions
) -> Call[Detections]:
    """Return the request for a detection.

    Args:
        classes: a text is one name, not a list of letters.

    Raises:
        InvalidPicture: see `read_picture`; OSError as well.
    """
    fields = _texts(
        {"classes": [classes] if isinstance(classes, str) else list(classes), **options}
    )
    return Call("POST", "/v1/detect", _read_detections, read_picture(picture), fields)


def annotate(
    picture: Picture, result: Result | None, media_type: MediaType, options: AnnotateOptions
) -> Call[bytes]:
    """Return the request for a picture with boxes drawn on it.

    Args:
        result: its predictions are drawn; `None` draws what the options describe.

    Raises:
        InvalidPicture: see `read_picture`; OSError as well.
    """
    drawn = {} if result is None else {"entities": entities_of(result)}
    fields = _texts({**options, **drawn})
    image = read_picture(picture)
    return Call("POST", "/v1/annotate", _read_bytes, image, fields, accept=media_type)


def tasks() -> Call[list[Task]]:
    """Return the request for the list of tasks."""
    return Call("GET", "/v1/tasks", lambda reply: Task.list_from_json(read_json(reply)))


def entities_of(result: Result) -> list[dict[str, Any]]:
    """Return the predictions in the form that `POST /v1/annotate` draws, one entity per class."""
    boxes: dict[str, list[dict[str, Any]]] = {}
    for found in result.predictions:
        box = {"xyxy": list(found.xyxy), "score": found.confidence}
        boxes.setdefault(found.class_name, []).append(box)
    return [
        {"phrase": name or None, "boxes": of_class[start : start + _MAX_BOXES_PER_ENTITY]}
        for name, of_class in boxes.items()
        for start in range(0, len(of_class), _MAX_BOXES_PER_ENTITY)
    ]


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a form; a field that is `None` is not sent.

    >>> _texts({"text": "a dog", "seed": 7, "grounding": True, "regions": None, "classes": ["a"]})
    {'text': 'a dog', 'seed': '7', 'grounding': 'true', 'classes': '["a"]'}
    """
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }


def _read_grounding(reply: Reply) -> Grounding:
    return Grounding.from_json(read_json(reply))


def _read_detections(reply: Reply) -> Detections:
    return Detections.from_json(read_json(reply))


def _read_bytes(reply: Reply) -> bytes:
    return reply.content


def _whole(reply: Reply) -> Reply:
    return reply

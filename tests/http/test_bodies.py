"""A body may be the picture itself; the query then has the fields."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.contract.detect_models import DetectBody
from app.contract.request_models import AnnotateBody, GroundBody
from app.errors import InvalidRequest, UnsupportedContentEncoding, UnsupportedMediaType
from app.http.bodies import read_request

PICTURE = b"\xff\xd8 a picture"


def read(
    model: type[Any], query: str, kind: str = "image/jpeg", body: bytes = PICTURE, **headers: str
) -> tuple[bytes, Any]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    raw = [(b"content-type", kind.encode())]
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": "/", "query_string": query.encode(), "headers": raw}
    scope |= {"scheme": "http", "server": ("a", 1)}
    return asyncio.run(read_request(Request(scope, receive), model))


@pytest.mark.parametrize(
    "kind",
    ["image/jpeg", "IMAGE/PNG; charset=binary", "image/*", "application/octet-stream",
     "application/x-image"],
)  # fmt: skip
def test_the_body_is_the_picture_and_the_query_has_the_fields(kind: str) -> None:
    query = "task=grounded_vqa&text=Where%20is%20a+cat%3F&max_new_tokens=5&stream=true&top_p=0.5"
    image, body = read(GroundBody, query, kind)
    assert image == PICTURE
    assert (body.task, body.text, body.max_new_tokens) == ("grounded_vqa", "Where is a cat?", 5)
    assert (body.stream, body.top_p) == (True, 0.5)


@pytest.mark.parametrize("classes", ["red%20circle,disc", '["red circle", "disc"]'])
def test_a_query_has_the_fields_of_a_detection(classes: str) -> None:
    query = f'classes={classes}&tiles={{"width": 300, "height": 200}}&nms={{"iou": 0.3}}'
    _, body = read(DetectBody, query)
    assert body.classes == ["red circle", "disc"]
    assert (body.tiles.width, body.nms.iou) == (300, 0.3)


def test_a_query_has_entities_to_draw() -> None:
    _, body = read(AnnotateBody, 'entities=[{"phrase":"a","boxes":[{"xyxy":[1,2,3,4]}]}]')
    assert body.entities[0].boxes[0].xyxy == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "task: is required"),
        ("task=dance", "task: input should be"),
        ("task=raw&text=a&txet=b", "txet: is not a field"),
        ("task=raw&task=raw", "task: is sent twice"),
        ("task=raw&text=%ff", "query: must be UTF-8"),
        ("&".join(f"a{n}=1" for n in range(65)), "query: must be UTF-8 with at most 64"),
        ("task=raw&regions=[", "regions: must be JSON"),
        ("task=raw&image=a", "image: is not a field"),
        ("task=raw&temperature=warm", "temperature: "),
    ],
)
def test_a_mistake_in_the_query_is_named(query: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message.replace("[", r"\[")):
        read(GroundBody, query)


def test_an_empty_body_has_no_picture() -> None:
    with pytest.raises(InvalidRequest, match="image: is empty"):
        read(GroundBody, "task=brief_caption", body=b"")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "images/a"]
)
def test_any_other_type_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="or a picture"):
        read(GroundBody, "task=brief_caption", kind)


def test_a_compressed_picture_is_refused() -> None:
    with pytest.raises(UnsupportedContentEncoding):
        read(GroundBody, "task=brief_caption", content_encoding="gzip")


def test_the_query_of_json_is_ignored() -> None:
    """So that a proxy may add parameters of its own."""
    body = b'{"image": {"base64": "aGk="}, "task": "brief_caption"}'
    image, fields = read(GroundBody, "task=dance&utm=1", "application/json", body)
    assert (image, fields.task) == (b"hi", "brief_caption")

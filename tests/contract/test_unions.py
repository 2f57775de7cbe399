"""An error of a field that accepts several kinds of values names what was sent."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from app.contract.chat_models import ChatBody
from app.contract.detect_models import DetectBody
from app.contract.moondream_models import CaptionBody, ObjectBody, QueryBody
from app.contract.request_models import AnnotateBody, GroundBody
from app.contract.validation import validate
from app.errors import FieldError, InvalidRequest
from app.http.routes.roboflow import InferBody

BODIES = (
    AnnotateBody, CaptionBody, ChatBody, DetectBody, GroundBody, InferBody, ObjectBody, QueryBody,
)  # fmt: skip
CHAT = {"messages": [{"role": "user"}]}


def unions(node: Any) -> Iterator[list[Any]]:
    """Yield the members of every union without tags in a JSON schema, except null."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("anyOf"), list):
        yield [member for member in node["anyOf"] if member != {"type": "null"}]
    for child in children:
        yield from unions(child)


@pytest.mark.parametrize("body", BODIES)
def test_every_union_has_tags(body: type[BaseModel]) -> None:
    """Without tags, pydantic reports the errors of all members, under names of its own."""
    assert all(len(members) == 1 for members in unions(body.model_json_schema()))


@pytest.mark.parametrize(
    ("body", "sent", "field"),
    [
        (ChatBody, CHAT | {"stop": ["a", "b", ""]}, "stop[2]"),
        (ChatBody, CHAT | {"stop": ["a", 7]}, "stop[1]"),
        (ChatBody, CHAT | {"stop": ["a"] * 17}, "stop"),
        (ChatBody, CHAT | {"stop": ""}, "stop"),
        (ChatBody, CHAT | {"stop": {"a": "b"}}, "stop"),
        (DetectBody, {"classes": ["a"], "tiles": "all"}, "tiles"),
        (DetectBody, {"classes": ["a"], "tiles": {"width": 640, "height": 1}}, "tiles.height"),
    ],
)
def test_only_the_sent_kind_is_reported(
    body: type[BaseModel], sent: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validate(body, sent, strict=False)
    [error] = raised.value.errors
    assert error == FieldError(field, error.message)


def test_a_value_in_place_of_an_object_is_reported_without_names_of_classes() -> None:
    with pytest.raises(InvalidRequest) as raised:
        validate(GroundBody, {"task": "grounded_vqa", "regions": ["a dog"]}, strict=True)
    assert raised.value.errors == (FieldError("regions[0]", "must be an object"),)

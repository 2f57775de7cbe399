"""The messages about wrong fields are sentences for people, not those of pydantic alone."""

from typing import Any

import pytest

from app.contract.detect_models import DetectBody
from app.contract.validation import validate
from app.errors import InvalidRequest


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "classes: is required"),
        (
            {"classes": [str(number) for number in range(65)]},
            "classes: list should have at most 64 items, not 65",
        ),
        ({"classes": ["a"], "tile": "auto"}, "tile: is not a field of this request"),
        ({"classes": ["a"], "nms": 0.5}, "nms: must be an object"),
    ],
)
def test_a_wrong_field_has_a_plain_message(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validate(DetectBody, fields, strict=True)
    assert str(raised.value) == message

"""Errors name fields as the client wrote them."""

import pytest

from app.contract.sent_fields import rename_fields
from app.errors import FieldError, InvalidRequest, Overloaded


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("classes", "text"),
        ("classes[1]", "text[1]"),
        ("classes.a", "text.a"),
        ("classes_too", "classes_too"),
        ("image.base64", "image[2].value"),
        ("image", "image[2]"),
        ("X-Request-Timeout", "X-Request-Timeout"),
    ],
)
def test_the_first_path_that_contains_the_field_counts(ours: str, theirs: str) -> None:
    sent = {"classes": "text", "image.base64": "image[2].value", "image": "image[2]"}
    with pytest.raises(InvalidRequest) as raised, rename_fields(sent):
        raise InvalidRequest(ours, "is wrong", FieldError("classes[0]", "too"), code="c")
    assert raised.value.errors == (FieldError(theirs, "is wrong"), FieldError("text[0]", "too"))
    assert raised.value.code == "c"
    assert str(raised.value) == f"{theirs}: is wrong; text[0]: too"


def test_other_errors_pass() -> None:
    with pytest.raises(Overloaded), rename_fields({"a": "b"}):
        raise Overloaded("full")

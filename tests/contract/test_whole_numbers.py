"""Integer fields accept `64.0`, as JSON Schema does, in JSON and in forms."""

from typing import Any

import pytest

from app.contract.request_models import GroundBody
from app.contract.validation import validate
from app.errors import InvalidRequest

INTEGERS = ("max_new_tokens", "no_repeat_ngram_size", "top_k", "seed")


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(
    ("value", "strict"), [(8.0, True), (8, True), (8.0, False), ("8.0", False), ("8", False)]
)
def test_an_integer_field_accepts_a_number_without_a_fraction(
    name: str, value: Any, strict: bool
) -> None:
    """Gson and Lua store every number as a double."""
    fields = {"task": "brief_caption", name: value}
    number = getattr(validate(GroundBody, fields, strict=strict), name)
    assert number == 8
    assert isinstance(number, int)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [8.5, float("inf"), float("nan"), 1e300, "8", True])
def test_an_integer_field_rejects_any_other_value(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=name):
        validate(GroundBody, {"task": "brief_caption", name: value}, strict=True)

"""Turns the texts of a form or of a command line into the values they stand for."""

import json
from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BOOLEAN_FIELDS = ("grounding", "jpeg_round_trip", "show_scores", "stream")
_JSON_FIELDS = ("entities", "regions")


def fields_of_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """What texts stand for: those of a form, or of a command line; an empty one is not sent.

    >>> fields_of_texts({"grounding": "0", "regions": "[]", "text": ""})
    {'grounding': False, 'regions': []}

    Raises:
        InvalidRequest: a field that is JSON is not.
    """
    return {name: _from_text(name, text) for name, text in texts.items() if text != ""}


def _from_text(name: str, value: str) -> Any:
    """A form's text as the value it stands for; what stands for none is left to the validation."""
    if name in _BOOLEAN_FIELDS:
        return _BOOLEANS.get(value.strip().lower(), value)
    if name in _JSON_FIELDS:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidRequest(name, "must be JSON: a list") from None
    return value

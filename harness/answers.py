"""Compares two answers of a service."""

import math
from typing import Any

# The batch size changes the rounding of probabilities, but not the tokens.
_SCORE_TOLERANCE = 1e-3
_OWN_TO_EACH_ANSWER = {"id", "timings", "cached_tokens"}


def are_same(answer: Any, other: Any) -> bool:
    """Return whether two answers, or lists of them, are equal except for ids, times and caching.

    >>> are_same({"id": "1", "text": "a"}, {"id": "2", "text": "a"})
    True
    >>> are_same({"boxes": [{"score": 0.51}]}, {"boxes": [{"score": 0.51001}]})
    True
    >>> are_same({"boxes": [{"score": 0.51}]}, {"boxes": [{"score": 0.6}]})
    False
    >>> are_same({"text": "a"}, {"text": "a", "truncated": True})
    False
    """
    if isinstance(answer, dict) and isinstance(other, dict):
        names = (answer.keys() | other.keys()) - _OWN_TO_EACH_ANSWER
        return all(
            name in answer and name in other and are_same(answer[name], other[name])
            for name in names
        )
    if isinstance(answer, list) and isinstance(other, list):
        return len(answer) == len(other) and all(map(are_same, answer, other))
    if isinstance(answer, float) and isinstance(other, float):
        return math.isclose(answer, other, rel_tol=_SCORE_TOLERANCE, abs_tol=_SCORE_TOLERANCE)
    return bool(answer == other)

"""Compares two answers of a service."""

import math
from typing import Any

# The batch size changes the rounding of probabilities, but not the tokens.
_SCORE_TOLERANCE = 1e-3
_IGNORED_FIELDS = {"id", "timings", "cached_tokens"}
_TOLERANCES = {
    "xyxy_refined": 0.01,  # pixels
    "xyxy_refined_normalized": 1e-4,
    "confidence": 1.001e-4,  # answers round it to 4 decimals, so one unit may differ
}


def are_same(answer: Any, other: Any, tolerance: float = _SCORE_TOLERANCE) -> bool:
    """Return whether two answers, or lists of them, are equal except for ids, times and caching.

    Args:
        tolerance: largest difference of two floats that have no tolerance of their own.

    >>> are_same({"id": "1", "text": "a"}, {"id": "2", "text": "a"})
    True
    >>> are_same({"boxes": [{"score": 0.51}]}, {"boxes": [{"score": 0.51001}]})
    True
    >>> are_same({"boxes": [{"score": 0.51}]}, {"boxes": [{"score": 0.6}]})
    False
    >>> are_same({"confidence": 0.9101}, {"confidence": 0.9102})
    True
    >>> are_same({"confidence": 0.9101}, {"confidence": 0.9103})
    False
    >>> are_same({"xyxy_refined": [150.0, 2.0]}, {"xyxy_refined": [150.02, 2.0]})
    False
    >>> are_same({"text": "a"}, {"text": "a", "truncated": True})
    False
    """
    if isinstance(answer, dict) and isinstance(other, dict):
        names = (answer.keys() | other.keys()) - _IGNORED_FIELDS
        return all(
            name in answer
            and name in other
            and are_same(answer[name], other[name], _TOLERANCES.get(name, tolerance))
            for name in names
        )
    if isinstance(answer, list) and isinstance(other, list):
        return len(answer) == len(other) and all(
            are_same(*pair, tolerance) for pair in zip(answer, other, strict=True)
        )
    if isinstance(answer, float) and isinstance(other, float):
        return math.isclose(answer, other, rel_tol=0.0, abs_tol=tolerance)
    return bool(answer == other)

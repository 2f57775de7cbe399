"""Types of fields that several requests or answers share."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

PRIORITY_DESCRIPTION = (
    "A `batch` request starts after all waiting `interactive` ones. Default: `interactive`, or "
    "`batch` for an API key that is confined to it."
)


Seed = Annotated[int, Field(json_schema_extra={"format": "int64"})]
"""Generated clients read integers without this format into 32 bits."""


def as_integer(value: Any) -> Any:
    """Return `64` for `64.0`, which is an integer in JSON Schema as well."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _round_seconds(seconds: float) -> float:
    return round(seconds, 6)


def _round_score(score: float) -> float:
    return round(score, 4)


def _round_pixels(pixels: float) -> float:
    return round(pixels, 4)


def _round_share(share: float) -> float:
    return round(share, 6)


# Later digits are noise: the clock is not that exact, and probabilities vary with the batch size.
# The types round, so that the JSON answer, the stream and the CLI cannot differ.
Seconds = Annotated[float, AfterValidator(_round_seconds)]
Score = Annotated[float, AfterValidator(_round_score)]
Pixels = Annotated[float, AfterValidator(_round_pixels)]
Share = Annotated[float, AfterValidator(_round_share)]
"""A part of the picture's width or height."""

"""Content negotiation by the `Accept` header."""

from collections.abc import Sequence


def preferred_type(accept: str, offered: Sequence[str]) -> str | None:
    """Return the offered media type that a client prefers (RFC 9110), or `None` if it accepts none.

    Args:
        accept: the header; empty accepts everything.
        offered: the best first; the order decides where the client has no preference.

    >>> preferred_type("image/*;q=0.8, image/webp", ["image/png", "image/webp"])
    'image/webp'
    >>> preferred_type("", ["image/png"]), preferred_type("text/html", ["image/png"])
    ('image/png', None)
    >>> preferred_type("*/*;q=nan", ["image/png"])
    'image/png'
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    qualities = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(qualities.values())
    return next(name for name in offered if qualities[name] == best) if best > 0 else None


def _range(part: str) -> tuple[str, float]:
    """Return a media range and its weight; an invalid weight counts as 1."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [text[2:] for text in parameters if text.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 1.0
    return name, weight if 0 <= weight <= 1 else 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that matches, or 0."""
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        for range_name, weight in ranges:
            if range_name == name:
                return weight
    return 0.0

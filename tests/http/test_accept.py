"""The `Accept` header chooses one of the offered media types."""

import pytest

from app.http.accept import preferred_type

OFFERED = ("image/png", "image/jpeg", "text/plain")


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/JPEG;Q=0.5", "image/jpeg"),
        ("image/jpeg, image/png", "image/png"),
        ("image/png;q=0.5, image/jpeg;q=0.9", "image/jpeg"),
        ("image/png ; level=1 ; q=0.5, image/jpeg", "image/jpeg"),
        ("image/*", "image/png"),
        ("*/*", "image/png"),
        ("text/*, */*;q=0.1", "text/plain"),
        ("image/png;q=0, */*", "image/jpeg"),
        (", image/jpeg,", "image/jpeg"),
        (" , ", "image/png"),
        ("image/jpeg;q=2, image/png;q=0.9", "image/jpeg"),
        ("image/jpeg;q=-1, image/png;q=0.9", "image/jpeg"),
        ("image/jpeg;q=high, image/png;q=0.9", "image/jpeg"),
        ("image/jpeg;q=2, image/png", "image/png"),
        ("image/png;q=0", None),
        ("audio/*", None),
    ],
)
def test_the_weights_of_the_most_specific_ranges_decide(accept: str, preferred: str | None) -> None:
    """A range whose weight is invalid has the weight 1."""
    assert preferred_type(accept, OFFERED) == preferred

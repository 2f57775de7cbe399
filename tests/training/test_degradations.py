"""Some training pictures are degraded, each in one way that its random numbers determine."""

import random

import numpy as np
import pytest
from PIL import Image

from training.degradations import DEGRADED_SHARE, blurred, degraded, noisy, through_jpeg

EDGE = Image.fromarray(np.repeat([[0, 255]], 60, axis=1).repeat(80, axis=0).astype(np.uint8))
PICTURE = EDGE.convert("RGB")


def difference(picture: Image.Image) -> float:
    """The root of the mean squared difference to `PICTURE`."""
    both = [np.asarray(one, dtype=float) for one in (picture, PICTURE)]
    return float(np.sqrt(((both[0] - both[1]) ** 2).mean()))


def test_the_stated_share_of_pictures_is_degraded():
    pictures = [degraded(PICTURE, random.Random(number)) for number in range(1000)]
    share = np.mean([picture is not PICTURE for picture in pictures])
    assert share == pytest.approx(DEGRADED_SHARE, abs=0.05)
    assert all(picture.size == PICTURE.size and picture.mode == "RGB" for picture in pictures)


def test_the_same_random_numbers_give_the_same_picture():
    for number in range(20):
        first, second = (degraded(PICTURE, random.Random(number)) for _ in range(2))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (through_jpeg(PICTURE, 55), through_jpeg(PICTURE, 15)),
        (blurred(PICTURE, 0.002), blurred(PICTURE, 0.014)),
        (noisy(PICTURE, 5, random.Random(0)), noisy(PICTURE, 35, random.Random(0))),
    ],
    ids=["jpeg", "blur", "noise"],
)
def test_the_strength_of_a_degradation_can_be_chosen(weaker: Image.Image, stronger: Image.Image):
    assert difference(weaker) < difference(stronger)

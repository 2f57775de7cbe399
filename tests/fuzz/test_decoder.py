"""Damaged pictures of every format, through the decoder as it is served: in its own process."""

import asyncio
from collections import Counter

import pytest

from app.errors import RequestError
from app.http.problems import PROBLEMS
from app.picture_processes.pool import PicturePool
from app.settings import Settings
from tests.fuzz.counts import show_counts
from tests.fuzz.mutants import mutants, pieces
from tests.support.formats import ALL_FILES, FILES

FULL = 1_000  # of each file: 27,000 in all
SHORT = 8


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_file_is_the_sum_of_its_pieces(name: str) -> None:
    """Or the mutator would damage what it means to leave alone."""
    parts = pieces(ALL_FILES[name])
    assert b"".join(parts) == ALL_FILES[name]
    assert len(parts) > 3


def test_the_same_seed_gives_the_same_mutants() -> None:
    """What was found has to be found again."""
    first, second = (list(mutants(FILES["PNG"], 50, "seed")) for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


async def _decode_all(count: int) -> dict[str, Counter[str]]:
    """How many mutants of each file came to which end."""
    counts = {name: Counter[str]() for name in ALL_FILES}
    async with PicturePool(Settings(picture_processes=1, max_image_pixels=10**6)) as pool:
        for name, data in ALL_FILES.items():
            for mutant in mutants(data, count, f"decoder {name}"):
                try:
                    decoded = await pool.decode(mutant)
                    assert len(decoded.pixels) == 224 * 224 * 3
                    counts[name]["decoded"] += 1
                except RequestError as error:
                    is_end = "within the limits" in str(error)
                    kind = "ended its process" if is_end else PROBLEMS[type(error)].code
                    counts[name][kind] += 1
    return counts


@pytest.mark.parametrize(
    "count",
    [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.large)],
)
def test_every_damaged_picture_is_decoded_or_refused(count: int) -> None:
    """No exception but a request's, and none ends its process."""
    counts = asyncio.run(_decode_all(count))
    show_counts(counts)
    total = sum(counts.values(), Counter[str]())
    assert total.total() == count * len(ALL_FILES)
    assert total["ended its process"] == 0
    assert total["decoded"] > 0
    assert total["invalid_image"] > 0

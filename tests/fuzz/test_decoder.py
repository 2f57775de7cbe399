"""Damaged pictures of every format, through the decoder as it is served: in its own process."""

import asyncio

import pytest

from harness.formats import FILES, FUZZED
from harness.mutants import mutants, pieces
from reliability.fuzz import decode_mutants

COUNT = 4  # of each file


@pytest.mark.parametrize("name", FUZZED)
def test_a_file_is_the_sum_of_its_pieces(name: str) -> None:
    """Or the mutator would damage what it means to leave alone."""
    parts = pieces(FUZZED[name])
    assert b"".join(parts) == FUZZED[name]
    assert len(parts) > 3


def test_the_same_seed_gives_the_same_mutants() -> None:
    """What was found has to be found again."""
    first, second = (list(mutants(FILES["PNG"], 50, "seed")) for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


def test_every_damaged_picture_is_decoded_or_refused() -> None:
    """No exception but a request's, and none ends its process. `make fuzz` decodes more."""
    ends = asyncio.run(decode_mutants(COUNT))
    assert ends.total() == COUNT * len(FUZZED)
    assert ends["ended its process"] == 0
    assert ends["decoded"] > 0
    assert ends["invalid_image"] > 0

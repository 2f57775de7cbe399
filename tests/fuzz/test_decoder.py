"""Damaged pictures of every format, decoded in a picture process as in the service."""

import asyncio

import pytest

from harness.formats import FILES, FUZZED
from harness.mutants import mutants, pieces
from reliability.fuzz import FILES as FUZZED_FILES
from reliability.fuzz import decode_mutants

COUNT = 4  # of each file


@pytest.mark.parametrize("name", FUZZED)
def test_the_pieces_of_a_file_add_up_to_the_file(name: str) -> None:
    """Otherwise the mutator would damage more than it intends."""
    parts = pieces(FUZZED[name])
    assert b"".join(parts) == FUZZED[name]
    assert len(parts) > 3


def test_the_same_seed_gives_the_same_mutants() -> None:
    """A finding must be repeatable."""
    first, second = (list(mutants(FILES["PNG"], 50, "seed")) for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


def test_every_damaged_picture_is_decoded_or_refused() -> None:
    """Only request errors are raised, and no process ends. `make fuzz` decodes more pictures."""
    ends = asyncio.run(decode_mutants(COUNT))
    assert ends.total() == COUNT * len(FUZZED_FILES)
    assert ends["ended its process"] == 0
    assert ends["decoded"] > 0
    assert ends["invalid_image"] > 0

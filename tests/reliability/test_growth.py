"""A soak reports lasting growth and ignores temporary changes."""

from collections.abc import Callable

import pytest

from reliability.goals import MAX_MEMORY_CHANGE, SETTLED_AFTER_S
from reliability.growth import Row, growth_of
from reliability.processes import Usage

MEGABYTE = 10**6
LEAK = MAX_MEMORY_CHANGE + 0.01


def rows_of(
    memory: Callable[[float], float], descriptors: Callable[[float], int], threads: int = 0
) -> list[Row]:
    """Return the samples of half an hour, one every five seconds."""
    return [
        Row(
            at_s=at_s,
            processes={
                "engine": Usage(
                    1, int(300 * MEGABYTE * memory(at_s)), 10, 3 + threads * at_s // 60
                ),
                "http": Usage(2, int(100 * MEGABYTE * memory(at_s)), descriptors(at_s), 8),
            },
            num_answered=1,
            num_failed=0,
            latency_s=None,
        )
        for at_s in range(5, 1801, 5)
    ]


def steady(_: float) -> float:
    return 1.0


def few(_: float) -> int:
    return 40


CASES = {
    "all steady": (rows_of(steady, few), []),
    "caches that fill up until minute 5": (rows_of(lambda t: min(t, 300) / 300, few), []),
    "a picture opened now and then": (rows_of(lambda t: 1 + 0.2 * (t % 60 == 0), few), []),
    "clients that connect and disconnect": (rows_of(steady, lambda t: 40 + int(t) % 35), []),
    "a leak": (rows_of(lambda t: 1 + LEAK * t / 1500, few), ["resident memory changed"]),
    "a leap that stays": (
        rows_of(lambda t: 1 + LEAK * (t > 900), few),
        ["resident memory changed"],
    ),
    "memory that shrinks": (
        rows_of(lambda t: 1 - 0.1 * (t > 900), few),
        ["resident memory changed"],
    ),
    "descriptors that stay": (rows_of(steady, lambda t: 40 + int(t) // 100), ["more descriptors"]),
    "threads that stay": (rows_of(steady, few, threads=1), ["more threads"]),
}


@pytest.mark.parametrize("case", CASES)
def test_only_lasting_changes_count_as_growth(case: str) -> None:
    """A soak that fails at every picture would be ignored."""
    rows, expected = CASES[case]
    violations = growth_of(rows, SETTLED_AFTER_S).violations
    assert len(violations) == len(expected)
    for violation, part in zip(violations, expected, strict=True):
        assert part in violation


def test_a_soak_that_ends_before_it_settles_is_an_error() -> None:
    """A run without samples must not pass."""
    with pytest.raises(ValueError, match="no sample is later"):
        growth_of(rows_of(steady, few)[:10], SETTLED_AFTER_S)

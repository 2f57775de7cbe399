"""Benchmarks convert their measurements to tables and compare them with goals."""

import math

import pytest

from app.bench.results import Reply, Sample
from benchmarks.case import Figure, Result, to_markdown, to_table
from benchmarks.overhead import steady_rate
from benchmarks.workloads import share_right


@pytest.mark.parametrize(
    ("figure", "is_met", "goal"),
    [
        (Figure("x", 3.0, at_least=3), True, "≥ 3"),
        (Figure("x", 2.9, at_least=3), False, "≥ 3"),
        (Figure("x", 0.7, at_most=0.7), True, "≤ 0.7"),
        (Figure("x", 0.71, at_most=0.7), False, "≤ 0.7"),
        (Figure("x", math.nan, at_least=3), False, "≥ 3"),
        (Figure("x", math.nan, at_most=0.7), False, "≤ 0.7"),
        (Figure("x", 1.0), True, ""),
    ],
)
def test_a_goal_is_met_on_one_side_only(figure: Figure, is_met: bool, goal: str) -> None:
    """A missing measurement is NaN and meets no goal."""
    assert (figure.is_met, figure.goal) == (is_met, goal)


def test_a_missed_goal_is_shown_in_the_table() -> None:
    """The table shows missed goals next to met ones."""
    result = Result("Speed", [{"rows": 1}], [Figure("ratio", 2.0, at_least=3)])
    assert "| ratio | 2 | ≥ 3 | no |" in to_markdown("speed", result)


def test_numbers_have_three_digits_and_large_numbers_all_digits_before_the_point() -> None:
    """More digits would suggest a precision that no benchmark has."""
    rows = [{"a": 0.012345, "b": 12345.6, "c": 7, "d": None, "e": "text"}]
    assert to_table(rows).splitlines()[-1] == "| 0.0123 | 12346 | 7 |  | text |"


def test_a_steady_rate_ignores_the_time_before_the_first_answer() -> None:
    """Here, three answers arrive in the 1.5 s after the first."""
    assert steady_rate([100.0, 100.5, 101.5, 101.0]) == 2.0


def test_an_answer_is_right_when_its_markup_equals_that_of_the_same_request() -> None:
    """The answer to another request is wrong; a failure does not count as an answer."""

    def sample(number: int, markup: str | None) -> Sample:
        answer = None if markup is None else {"markup": markup}
        code = "overloaded" if markup is None else None
        return Sample(number, 0.0, 0.0, 1.0, None, Reply(200, code, answer))

    samples = [sample(0, "a"), sample(1, "b"), sample(1, "a"), sample(0, None), sample(1, "b")]
    assert share_right(samples, ["a", "b"]) == 0.75

"""Figures of a load: percentiles by nearest rank, goodput and errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bench.results import LoadResult, Percentiles, Reply, Sample, percentile

TIMES = st.lists(st.floats(0, 1e3), min_size=1, max_size=300)
SHARES = st.floats(0, 1, exclude_min=True)


def sample(intended_s: float, latency_s: float, reply: Reply, sent_s: float = 0.0) -> Sample:
    return Sample(0, intended_s, max(sent_s, intended_s), latency_s, None, reply)


def answered(prompt_tokens: int = 71, completion_tokens: int = 10, cached_tokens: int = 0) -> Reply:
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "cached_tokens": cached_tokens,
    }
    return Reply(200, None, {"usage": usage})


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (100, 0.99, 99), (101, 0.99, 100), (2000, 0.99, 1980)],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(count: int, share: float, rank: int) -> None:
    """Ranks count from 1; no value is interpolated between measured ones."""
    assert percentile([float(value) for value in range(1, count + 1)], share) == rank


@given(TIMES, SHARES)
def test_a_share_of_the_values_does_not_exceed_the_percentile(
    times: list[float], share: float
) -> None:
    """The definition of a percentile, which detects an off-by-one rank."""
    value = percentile(sorted(times), share)
    assert sum(time <= value for time in times) >= share * len(times)
    assert sum(time < value for time in times) < share * len(times)


def test_an_empty_list_has_no_percentiles() -> None:
    """Without answers there is no latency; a zero would look like a fast service."""
    assert Percentiles.of([]) is None


def test_failed_requests_count_as_errors_and_not_in_the_latencies() -> None:
    """Otherwise a service would look faster the more requests it rejects at once."""
    rejected = Reply(503, "overloaded")
    samples = [sample(0, 2.0, answered()), sample(0, 0.001, rejected), sample(1, 0.001, rejected)]
    result = LoadResult.of(samples)
    assert (result.num_requests, result.num_good) == (3, 1)
    assert result.errors == {"overloaded": 2}
    assert result.latency_s == Percentiles(2.0, 2.0, 2.0, 2.0)


def test_goodput_counts_until_the_last_reply() -> None:
    """If it counted until the last sending, a service could gain by postponing its work."""
    result = LoadResult.of([sample(0, 1.0, answered()), sample(3, 2.0, answered())])
    assert result.seconds == 5.0
    assert result.goodput_per_s == 0.4
    assert result.tokens_per_s == 4.0


def test_the_cached_share_refers_to_the_prompt_tokens() -> None:
    """It shows how much work the cache saved."""
    cached = answered(prompt_tokens=100, cached_tokens=67)
    result = LoadResult.of([sample(0, 1.0, answered(100)), sample(0, 1.0, cached)])
    assert result.cached_share == 0.335


def test_the_result_reports_the_largest_delay_of_the_generator() -> None:
    """Otherwise a slow generator would look like a slow service."""
    late = sample(1.0, 0.5, answered(), sent_s=1.25)
    assert LoadResult.of([sample(0, 1.0, answered()), late]).max_send_delay_s == 0.25

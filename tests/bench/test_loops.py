"""Sending times and latencies of closed and open loops, in virtual time."""

import asyncio
import gc
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import pytest

from app.bench.loops import (
    PAUSE_AFTER_FAILURE_S,
    Bounds,
    Send,
    closed_loop,
    open_loop,
    poisson_arrivals,
    run_load,
)
from app.bench.results import Reply, Sample
from app.bench.workload import LoadRequest
from harness.virtual_time import VirtualTimeLoop, run_in_virtual_time

WORKLOAD = [LoadRequest(b"", {"task": task}) for task in ("brief_caption", "raw", "grounded_vqa")]


def one_at_a_time(service_s: float) -> Send:
    """Return a service that handles one request at a time, each in `service_s` seconds."""
    turn = asyncio.Lock()

    async def send(_: LoadRequest) -> Reply:
        async with turn:
            await asyncio.sleep(service_s)
        return Reply(200, None, {})

    return send


def refusing() -> Send:
    """Return a service that rejects every request at once."""

    async def send(_: LoadRequest) -> Reply:
        return Reply(503, "overloaded")

    return send


def run_closed(send: Send, concurrency: int, bounds: Bounds) -> list[Sample]:
    return run_in_virtual_time(closed_loop(send, WORKLOAD, concurrency, bounds))


def run_open(send: Send, arrivals: Sequence[float]) -> list[Sample]:
    return run_in_virtual_time(open_loop(send, WORKLOAD, arrivals))


def test_latencies_of_an_open_loop_count_from_the_intended_arrival() -> None:
    """Requests arrive twice as fast as they are answered, so each waits longer than the last."""
    samples = run_open(one_at_a_time(2.0), [0.0, 1.0, 2.0, 3.0])
    assert [sample.latency_s for sample in samples] == pytest.approx([2.0, 3.0, 4.0, 5.0])


def test_a_pause_of_the_service_delays_all_requests_that_arrive_during_it() -> None:
    """A closed loop would send one request during the pause, and report one slow request."""
    pause_end = 10.0

    async def send(_: LoadRequest) -> Reply:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, pause_end - now))
        return Reply(200, None, {})

    samples = run_open(send, [float(second) for second in range(12)])
    assert [sample.latency_s for sample in samples] == pytest.approx([*range(10, 0, -1), 0, 0])


def test_a_slow_generator_increases_latencies_and_reports_its_delay() -> None:
    """A request that the generator sends late has waited too."""

    async def compute(_: LoadRequest) -> Reply:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.compute(3.0)  # the generator cannot send meanwhile
        return Reply(200, None, {}, first_event_at=loop.time())

    first, second = run_open(compute, [0.0, 1.0])
    assert (first.sent_s, first.latency_s) == (0.0, 3.0)
    assert (second.sent_s, second.latency_s, second.time_to_first_token_s) == (3.0, 5.0, 5.0)


def test_an_open_loop_waits_for_all_its_answers() -> None:
    """The slowest answers matter most."""
    assert len(run_open(one_at_a_time(100.0), [0.0, 0.1, 0.2])) == 3


def test_a_closed_loop_has_at_most_one_open_request_per_client() -> None:
    """6 requests of 1 s by 2 clients, handled one at a time, take 6 s."""
    samples = run_closed(one_at_a_time(1.0), 2, Bounds(num_requests=6))
    ends = sorted(sample.intended_s + sample.latency_s for sample in samples)
    assert ends == pytest.approx([1, 2, 3, 4, 5, 6])
    assert [sample.latency_s for sample in samples] == pytest.approx([1, 2, 2, 2, 2, 2])


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_a_closed_loop_sends_exactly_the_bounded_number_of_requests(concurrency: int) -> None:
    """For any number of clients; the workload is repeated in order."""
    samples = run_closed(one_at_a_time(1.0), concurrency, Bounds(num_requests=7))
    # Seven requests of a workload of three: the first of them is sent three times.
    assert sorted(sample.number for sample in samples) == [0, 0, 0, 1, 1, 2, 2]


def test_a_closed_loop_stops_sending_at_its_time_bound() -> None:
    """It waits for the last answer: requests at 0, 2 and 4 s, the end at 6 s."""
    samples = run_closed(one_at_a_time(2.0), 1, Bounds(seconds=5.0))
    assert [sample.intended_s for sample in samples] == pytest.approx([0, 2, 4])


def test_a_rejected_client_pauses() -> None:
    """Otherwise a full or missing service would get thousands of requests per second."""
    samples = run_closed(refusing(), 1, Bounds(seconds=1.0))
    assert len(samples) == pytest.approx(1.0 / PAUSE_AFTER_FAILURE_S, abs=1)


def test_a_load_needs_a_bound() -> None:
    """A load without end can only be a mistake."""
    with pytest.raises(ValueError, match="bound"):
        Bounds()


def test_poisson_arrivals_have_the_requested_rate() -> None:
    """Gaps are exponential: their mean is 1/rate, and a share of e⁻¹ is longer than the mean."""
    times = list(poisson_arrivals(50.0, seed=3, bounds=Bounds(num_requests=20_000)))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert fmean(gap > 1 / 50 for gap in gaps) == pytest.approx(0.3679, abs=0.02)


def test_poisson_arrivals_depend_on_the_seed_alone() -> None:
    """So all peers of a benchmark get the same arrivals."""
    bounds = Bounds(num_requests=50)
    first, again, other = (list(poisson_arrivals(9.0, seed, bounds)) for seed in (1, 1, 2))
    assert first == again != other


def test_poisson_arrivals_end_at_the_first_bound() -> None:
    """The number of requests or the time."""
    by_time = list(poisson_arrivals(10.0, 0, Bounds(num_requests=1000, seconds=5.0)))
    assert by_time[-1] < 5.0
    assert 20 < len(by_time) < 90
    assert len(list(poisson_arrivals(10.0, 0, Bounds(num_requests=7, seconds=500.0)))) == 7


def test_a_collection_during_a_load_skips_what_exists_before_it() -> None:
    """Otherwise it would take long in a process with many objects, and delay all requests."""
    before = [[0]]

    async def load() -> tuple[bool, bool]:
        during, collected = [[1]], gc.get_objects()
        return any(o is before for o in collected), any(o is during for o in collected)

    assert run_load(load()) == (False, True)

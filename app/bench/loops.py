"""Closed and open loops: send requests and measure their latencies.

In a closed loop every client waits for its answer before it sends the next request, so a slow
service gets fewer requests. In an open loop requests arrive independently of the answers, and each
latency counts from the intended arrival even if the generator sent the request later. Waiting time
is therefore never left out (no coordinated omission).
"""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, takewhile
from typing import TypeVar

from app.bench.results import Reply, Sample
from app.bench.workload import LoadRequest
from app.supervisor.termination import run_until_signal

T = TypeVar("T")

PAUSE_AFTER_FAILURE_S = 0.1
"""Pause of a closed-loop client after a failure, so that it does not flood the service."""

Send = Callable[[LoadRequest], Awaitable[Reply]]
"""Sends a request and returns the reply; failures are replies too."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of a load, at least one; the first bound that is reached stops the sending.

    Attributes:
        num_requests: total number of requests; `None` sets no bound.
        seconds: seconds from the beginning; `None` sets no bound.
    """

    num_requests: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.num_requests is None and self.seconds is None:
            raise ValueError("a load needs a bound: num_requests or seconds")

    def allows(self, num_sent: int, elapsed_s: float) -> bool:
        """Return whether one more request may be sent.

        >>> Bounds(num_requests=2).allows(num_sent=2, elapsed_s=0.0)
        False
        """
        is_early = self.seconds is None or elapsed_s < self.seconds
        return is_early and (self.num_requests is None or num_sent < self.num_requests)


async def closed_loop(
    send: Send, workload: Sequence[LoadRequest], concurrency: int, bounds: Bounds
) -> list[Sample]:
    """Run a fixed number of clients, each of which waits for its answer before it sends again.

    Args:
        workload: requests to send in order, repeated from the beginning when they run out.
    """
    clock = asyncio.get_running_loop().time
    samples, numbers, began = list[Sample](), count(), clock()

    async def run_client() -> None:
        # All clients share the counter, so that the workload is sent in its order.
        while bounds.allows(number := next(numbers), clock() - began):
            sample = await _sample(send, workload, number, began, clock() - began)
            samples.append(sample)
            if not sample.is_good:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async with asyncio.TaskGroup() as clients:
        for _ in range(concurrency):
            clients.create_task(run_client())
    return samples


async def open_loop(
    send: Send, workload: Sequence[LoadRequest], arrivals: Iterable[float]
) -> list[Sample]:
    """Send a request at each arrival, no matter how many answers are still missing.

    Args:
        workload: requests to send in order, repeated from the beginning when they run out.
        arrivals: seconds from the beginning, ascending.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as requests:
        tasks = list[asyncio.Task[Sample]]()
        for number, arrival in enumerate(arrivals):
            # A negative delay returns at once, so a late generator catches up.
            await asyncio.sleep(began + arrival - clock())
            tasks.append(
                requests.create_task(_sample(send, workload, number, began, intended_s=arrival))
            )
    return [task.result() for task in tasks]


def poisson_arrivals(rate: float, seed: int, bounds: Bounds) -> Iterator[float]:
    """Yield arrival times of independent users: exponential gaps, determined by the seed.

    >>> [round(time, 3) for time in poisson_arrivals(10, 0, Bounds(num_requests=3))]
    [0.186, 0.328, 0.382]

    Args:
        rate: average arrivals per second.
    """
    times = _poisson_process(rate, random.Random(seed))  # noqa: S311 - not used for secrets
    early = takewhile(lambda time: bounds.allows(0, time), times)
    return islice(early, bounds.num_requests)


def _poisson_process(rate: float, rng: random.Random) -> Iterator[float]:
    time = 0.0
    while True:
        time += rng.expovariate(rate)
        yield time


async def _sample(
    send: Send, workload: Sequence[LoadRequest], number: int, began: float, intended_s: float
) -> Sample:
    clock = asyncio.get_running_loop().time
    index = number % len(workload)
    sent_s = clock() - began
    reply = await send(workload[index])
    intended_at = began + intended_s
    first = reply.first_event_at
    return Sample(
        number=index,
        intended_s=intended_s,
        sent_s=sent_s,
        latency_s=clock() - intended_at,
        time_to_first_token_s=None if first is None else first - intended_at,
        reply=reply,
    )


def run_load(load: Coroutine[None, None, T]) -> T:
    """Run a load; garbage collections during it skip all objects that exist before it.

    With the objects of torch and transformers a collection takes half a second, in which no request
    would be sent and no answer read.
    """
    gc.collect()
    gc.freeze()
    return run_until_signal(load)

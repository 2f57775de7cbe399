"""Closed and open loops: when requests are sent, and how long each took.

In a closed loop every client waits for its answer before it asks again: a slow service is asked
less. In an open loop requests arrive at times of their own, and the time of each counts from its
arrival, whether or not it could be sent then: what waits is never left out (no coordinated
omission).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, takewhile

from app.bench.results import Reply, Sample
from app.bench.workload import LoadRequest

PAUSE_AFTER_FAILURE_S = 0.1
"""A client of a closed loop does not hammer a service that refuses it."""

Send = Callable[[LoadRequest], Awaitable[Reply]]
"""Sends a request and gives what came back; failures are replies too."""


@dataclass(frozen=True)
class Bounds:
    """When a load sends no more: whichever comes first. What was sent is waited for.

    Attributes:
        num_requests: in all; none: no such bound.
        seconds: from the beginning; none: no such bound.
    """

    num_requests: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.num_requests is None and self.seconds is None:
            raise ValueError("a load needs a bound")

    def allows(self, num_sent: int, elapsed_s: float) -> bool:
        """Whether one more request may be sent.

        >>> Bounds(num_requests=2).allows(num_sent=2, elapsed_s=0.0)
        False
        """
        is_early = self.seconds is None or elapsed_s < self.seconds
        return is_early and (self.num_requests is None or num_sent < self.num_requests)


async def closed_loop(
    send: Send, workload: Sequence[LoadRequest], concurrency: int, bounds: Bounds
) -> list[Sample]:
    """Ask with a fixed number of clients, each waiting for its answer.

    Args:
        send: one request.
        workload: taken in order, from the beginning again when it ends.
        concurrency: clients.
        bounds: when to end.
    """
    clock = asyncio.get_running_loop().time
    samples, numbers, began = list[Sample](), count(), clock()

    async def run_client() -> None:
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
    """Send a request at each arrival, however many are still waiting for their answers.

    Args:
        send: one request.
        workload: taken in order, from the beginning again when it ends.
        arrivals: seconds from the beginning, ascending.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as requests:
        tasks = list[asyncio.Task[Sample]]()
        for number, arrival in enumerate(arrivals):
            await asyncio.sleep(began + arrival - clock())
            tasks.append(
                requests.create_task(_sample(send, workload, number, began, intended_s=arrival))
            )
    return [task.result() for task in tasks]


def poisson_arrivals(rate: float, seed: int, bounds: Bounds) -> Iterator[float]:
    """Arrival times of independent users: gaps are exponential, the same for the same seed.

    >>> [round(time, 3) for time in poisson_arrivals(10, 0, Bounds(num_requests=3))]
    [0.186, 0.328, 0.382]

    Args:
        rate: per second, on average.
        seed: of the gaps.
        bounds: when to end.
    """
    times = _poisson_process(rate, random.Random(seed))  # noqa: S311 - no secret
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

"""Loads that a benchmark puts on a running server."""

from collections.abc import Iterable, Sequence

from app.bench.client import load_client
from app.bench.loops import Bounds, closed_loop, open_loop, run_load
from app.bench.results import Sample
from app.bench.workload import LoadRequest


def put_closed_load(
    url: str, workload: Sequence[LoadRequest], clients: int, bounds: Bounds
) -> list[Sample]:
    """Run waiting clients; two warm-up requests per client do not count."""

    async def load() -> list[Sample]:
        async with load_client(url) as client:
            await closed_loop(client.send, workload, clients, Bounds(num_requests=2 * clients))
            return await closed_loop(client.send, workload, clients, bounds)

    return run_load(load())


def put_open_load(
    url: str, workload: Sequence[LoadRequest], arrivals: Iterable[float]
) -> list[Sample]:
    """Send requests at given times without waiting for answers, which are streamed."""

    async def load() -> list[Sample]:
        async with load_client(url, is_streaming=True) as client:
            return await open_loop(client.send, workload, arrivals)

    return run_load(load())

"""`kosmos2 bench`: sends a load to a running service, and prints a table and a line of JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.bench.client import NoService, load_client
from app.bench.loops import Bounds, closed_loop, open_loop, poisson_arrivals, run_load
from app.bench.results import LoadResult, Percentiles, Sample
from app.bench.workload import mixed_workload, read_pictures

NUM_DIFFERENT_REQUESTS = 512


@dataclass(frozen=True)
class Load:
    """Options of `kosmos2 bench`.

    Attributes:
        url: base URL of the service, without a path.
        concurrency: number of clients of a closed loop.
        rate: arrivals per second of an open loop; `None` selects a closed loop.
        pictures: picture files; if empty, the scenes of the embedded checkpoint.
    """

    url: str
    concurrency: int
    rate: float | None
    bounds: Bounds
    is_streaming: bool
    pictures: Sequence[Path]
    seed: int

    @property
    def loop(self) -> str:
        """Description of the loop."""
        if self.rate is None:
            return f"closed, {self.concurrency} clients"
        return f"open, {self.rate:g} arrivals/s"


def bench(load: Load, api_key: str | None) -> int:
    """Run a load; print a table on standard error and one line of JSON on standard output.

    Returns:
        The exit code: 1 if the service answered no request, otherwise 0.
    """
    try:
        model, samples = run_load(_run(load, api_key))
    except NoService as error:
        print(f"no Kosmos-2 service answers at {load.url}: {error}", file=sys.stderr)
        return 1
    if not samples:
        print(
            "no request was sent: at this rate none arrives in time; raise --rate or --seconds",
            file=sys.stderr,
        )
        return 1
    result = LoadResult.of(samples)
    Console(stderr=True).print(_table(load, model, result))
    head = {"benchmark": "load", "model": model, "loop": load.loop, "streamed": load.is_streaming}
    print(json.dumps(head | asdict(result)))
    return 0 if result.num_good else 1


async def _run(load: Load, api_key: str | None) -> tuple[str, list[Sample]]:
    """Return the name of the served model and one sample per request."""
    workload = mixed_workload(read_pictures(load.pictures), NUM_DIFFERENT_REQUESTS, load.seed)
    async with load_client(load.url, api_key=api_key, is_streaming=load.is_streaming) as client:
        model = await client.model_name()
        if load.rate is None:
            return model, await closed_loop(client.send, workload, load.concurrency, load.bounds)
        arrivals = poisson_arrivals(load.rate, load.seed, load.bounds)
        return model, await open_loop(client.send, workload, arrivals)


def _table(load: Load, model: str, result: LoadResult) -> Table:
    table = Table("", "", title=f"{model}, {load.loop}", show_header=False)
    table.add_row("answered", f"{result.num_good} of {result.num_requests} requests")
    for code, number in sorted(result.errors.items()):
        table.add_row(f"  {code}", str(number))
    table.add_row("in", f"{result.seconds:.1f} s")
    table.add_row("goodput", f"{result.goodput_per_s:.2f} requests/s")
    table.add_row("tokens", f"{result.tokens_per_s:.1f} /s")
    table.add_row("cached prompt tokens", f"{result.cached_share:.0%}")
    table.add_row("latency", _describe(result.latency_s))
    if load.is_streaming:
        table.add_row("time to first token", _describe(result.time_to_first_token_s))
    table.add_row("largest send delay", f"{result.max_send_delay_s * 1000:.0f} ms")
    return table


def _describe(times: Percentiles | None) -> str:
    if times is None:
        return "none"
    named = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("highest", times.highest))
    return ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in named)

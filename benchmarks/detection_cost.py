"""What detections cost, and what captions lose next to them and next to a saturating batch.

    python -m benchmarks.detection_cost [--quick] [--out FOLDER]

Every picture is new. Detections and captions alternate, so that a slower minute affects both.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from matplotlib.figure import Figure as Plot

from app.bench.client import LoadClient, load_client
from app.bench.loops import Bounds, closed_loop, run_load
from app.bench.results import Percentiles, Sample
from app.bench.workload import LoadRequest
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, Row, log_progress, main
from benchmarks.contestants import running, service
from benchmarks.detection_quality import Query, held_out_query
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import captions, detections, scenes
from training.world import COLOURS, SHAPES

CLASSES = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]
CAPTION_CLIENTS = 4
BATCH_CLIENTS = 64
"""Twice the slots, so that the batch alone saturates the engine."""
ALONE = "alone"
NEXT_TO_DETECTIONS = {
    "next to one client with endless detections of 64 classes": 1,
    "next to two of them": 2,
}
NEXT_TO_A_BATCH = f"next to {BATCH_CLIENTS} clients with captions of priority `batch`"
ROUNDS = 3


def measure(is_quick: bool) -> Result:
    """Measure the cost of classes, then captions alone and next to other loads."""
    pictures = scenes(12 if is_quick else 240)
    with running(service(picture_cache_bytes=0), EMBEDDED_CHECKPOINT) as url:
        return run_load(_measure(url, pictures, is_quick))


async def _measure(url: str, pictures: Sequence[bytes], is_quick: bool) -> Result:
    async with load_client(url) as client:
        log_progress("detection_cost: one phrase, ten classes")
        latencies = await _costs(
            client, [held_out_query(number) for number in range(6 if is_quick else 60)]
        )
        samples = await _captions(client, pictures, 1 if is_quick else ROUNDS, is_quick)
    percentiles = {name: _percentiles(some) for name, some in samples.items()}
    alone, batch = percentiles[ALONE], percentiles[NEXT_TO_A_BATCH]
    refused = sum(not sample.is_good for some in samples.values() for sample in some)
    phrase, ten = (median(latencies[name]) for name in ("one phrase", "ten classes"))
    return Result(
        "Detections: their cost, and captions next to them",
        [
            *(_row(name, _percentiles_of(some), len(some)) for name, some in latencies.items()),
            *(_row(f"captions {n}", percentiles[n], len(some)) for n, some in samples.items()),
        ],
        [
            Figure("x, ten classes over one phrase, p50", ten / phrase, at_most=3),
            *(
                Figure(f"x, captions {name}, p95", percentiles[name].p95 / alone.p95, at_most=2)
                for name in NEXT_TO_DETECTIONS
            ),
            Figure("x, captions next to a batch, p99", batch.p99 / alone.p99, at_most=3),
            Figure("refused captions", float(refused), at_most=0),
        ],
        [f"{CAPTION_CLIENTS} waiting clients request captions. No pictures are cached."],
    )


async def _captions(
    client: LoadClient, pictures: Sequence[bytes], rounds: int, is_quick: bool
) -> dict[str, list[Sample]]:
    """Return the samples of captions in each situation, from several rounds of all situations."""
    bounds = Bounds(seconds=1.0 if is_quick else 20.0)
    classes = detections(pictures, CLASSES[:64])
    loads = {ALONE: None} | {name: (classes, number) for name, number in NEXT_TO_DETECTIONS.items()}
    loads[NEXT_TO_A_BATCH] = (captions(pictures, priority="batch"), BATCH_CLIENTS)
    samples: dict[str, list[Sample]] = {name: [] for name in loads}
    for number in range(rounds):
        for name, load in loads.items():
            log_progress(f"detection_cost, round {number + 1}: captions {name}")
            wanted = closed_loop(client.send, captions(pictures), CAPTION_CLIENTS, bounds)
            samples[name] += await (wanted if load is None else _next_to(client, load, wanted))
    return samples


async def _costs(client: LoadClient, queries: Sequence[Query]) -> dict[str, list[float]]:
    """Return the latencies of one client's requests, in turn of each kind, without others."""
    kinds = {
        "one phrase": [query.phrase() for query in queries],
        "ten classes": [query.request() for query in queries],
        "64 classes": detections([query.picture for query in queries], CLASSES[:64]),
    }
    mixed = [request for requests in zip(*kinds.values(), strict=True) for request in requests]
    samples = await closed_loop(client.send, mixed, 1, Bounds(len(mixed)))
    latencies: dict[str, list[float]] = {kind: [] for kind in kinds}
    # The first round warms up the service.
    for sample in sorted(samples, key=lambda one: one.number)[len(kinds) :]:
        latencies[list(kinds)[sample.number % len(kinds)]].append(_good(sample).latency_s)
    return latencies


async def _next_to(
    client: LoadClient,
    load: tuple[Sequence[LoadRequest], int],
    wanted: Coroutine[Any, Any, list[Sample]],
) -> list[Sample]:
    """Return the samples of a load that runs while endless clients send another one."""
    requests, clients = load
    endless = asyncio.create_task(
        closed_loop(client.send, requests, clients, Bounds(seconds=600.0))
    )
    try:
        return await wanted
    finally:
        endless.cancel()
        with suppress(asyncio.CancelledError):
            await endless


def _good(sample: Sample) -> Sample:
    if not sample.is_good:
        raise RuntimeError(f"the service refused a request: {sample.reply}")
    return sample


def _percentiles(samples: Sequence[Sample]) -> Percentiles:
    return _percentiles_of([sample.latency_s for sample in samples])


def _percentiles_of(latencies: Sequence[float]) -> Percentiles:
    percentiles = Percentiles.of(latencies)
    if percentiles is None:
        raise RuntimeError("no request was answered in time")
    return percentiles


def _row(name: str, times: Percentiles, number: int) -> Row:
    return {
        "what": name,
        "requests": number,
        "p50 s": times.p50,
        "p95 s": times.p95,
        "p99 s": times.p99,
    }


def plot(result: Result) -> Plot:
    """Plot the percentiles of each row."""
    figure, (axes,) = panels(1)
    columns = ("p50 s", "p95 s", "p99 s")
    series = {str(row["what"]): [float(row[key] or 0) for key in columns] for row in result.rows}
    draw_bars(axes, columns, series, "s")
    axes.set_yscale("log")
    return figure


CASE = Case("detection_cost", measure, plot)

if __name__ == "__main__":
    main(CASE)

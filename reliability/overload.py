"""`make overload`: the goodput of a service at one, two and three times its capacity.

    python -m reliability.overload [--seconds 60] [--out FOLDER]

The exit code is 1 when the goodput at three times the capacity is too far below that at capacity,
when an accepted request waits longer than the queue explains, or when a refusal is not a 503
`overloaded` with a `Retry-After`.

A second run sends the requests to all doors in turn (`reliability/door_load.py`).

The load generator runs next to the service, at the same priority; the report has its share of a
processor.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from app.bench.client import load_client
from app.bench.loops import Bounds, Send, closed_loop, open_loop, poisson_arrivals, run_load
from app.bench.results import LoadResult, Percentiles, Sample
from app.bench.workload import LoadRequest
from benchmarks.machine import describe_machine
from benchmarks.workloads import different_pictures
from harness import loopback
from harness.service import RunningService, running_service
from reliability.door_load import door_client
from reliability.goals import LEAST_GOODPUT
from reliability.results import publish

SETTINGS = {"log_level": "warning", "picture_cache_bytes": 0}
"""The defaults for operators, but without the picture cache, so that all pictures cost the same."""

FACTORS = (1, 2, 3)
_SEED = 20261
_NUM_PICTURES = 96
# A second client waits, so that no slot is free while an answer travels to the first.
_CLIENTS_PER_SLOT = 2
_WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class Offer:
    """The result at one rate of arrivals, without the first fifth, in which the queue fills up.

    Attributes:
        goodput_per_s: answered requests.
        latency_s: of the answered requests, from their arrival.
        refused_share: of all requests that arrived.
        codes: number of refusals by code.
        retry_after_s: lowest, median and highest `Retry-After`; `None` if no refusal has one.
        num_without_retry_after: refusals without a `Retry-After`.
        generator_behind_s: largest delay of the generator in sending; part of the latencies.
    """

    factor: int
    offered_per_s: float
    goodput_per_s: float
    latency_s: Percentiles | None
    refused_share: float
    codes: dict[str, int]
    retry_after_s: tuple[float, float, float] | None
    num_without_retry_after: int
    generator_share: float
    generator_behind_s: float


@dataclass(frozen=True)
class Overload:
    """The results at all rates.

    Attributes:
        capacity_per_s: answered requests when twice as many clients as slots wait for answers.
        capacity: requests that the service accepts at once, running and waiting.
        latency_bound_s: the wait that the queue explains: all other requests in it are served
            first, and then this one takes as long as the p99 at capacity.
        offers: one result for each factor.
    """

    capacity_per_s: float
    capacity: int
    latency_bound_s: float
    offers: Sequence[Offer]

    @property
    def violations(self) -> list[str]:
        """Return the missed goals."""
        first, last = self.offers[0], self.offers[-1]
        found = []
        if last.goodput_per_s < LEAST_GOODPUT * first.goodput_per_s:
            found.append(
                f"goodput at {last.factor}x is {last.goodput_per_s / first.goodput_per_s:.0%} "
                f"of that at {first.factor}x"
            )
        for offer in self.offers:
            found += self._violations_of(offer)
        return found

    def _violations_of(self, offer: Offer) -> list[str]:
        found = []
        others = {code: number for code, number in offer.codes.items() if code != "overloaded"}
        if offer.latency_s is not None and offer.latency_s.p99 > self.latency_bound_s:
            found.append(
                f"p99 at {offer.factor}x is {offer.latency_s.p99:.2f} s, "
                f"the queue explains {self.latency_bound_s:.2f} s"
            )
        if others:
            found.append(f"at {offer.factor}x requests failed for other reasons: {others}")
        if offer.num_without_retry_after:
            found.append(f"{offer.num_without_retry_after} refusals have no Retry-After")
        return found


async def measure_overload(
    service: RunningService, seconds: float, *, through_all_doors: bool = False
) -> Overload:
    """Measure the capacity of a service, then offer one, two and three times as much.

    Args:
        seconds: for the capacity, and for each factor.
        through_all_doors: whether the requests are sent to all doors in turn.
    """
    limits = loopback.get(f"{service.url}/version").json()["limits"]
    workload = different_pictures(_NUM_PICTURES)
    opened = door_client(service.url) if through_all_doors else load_client(service.url)
    async with opened as client:
        clients = _CLIENTS_PER_SLOT * limits["slots"]
        # Warm-up: connections, forms and caches are made here.
        await closed_loop(client.send, workload, clients, Bounds(2 * clients))
        found = await closed_loop(client.send, workload, clients, Bounds(seconds=seconds))
        at_capacity = LoadResult.of(found)
        capacity = at_capacity.goodput_per_s
        offers = [
            await _offer(client.send, workload, factor, factor * capacity, seconds)
            for factor in FACTORS
        ]
    longest_s = 0.0 if at_capacity.latency_s is None else at_capacity.latency_s.p99
    bound_s = limits["max_requests"] / capacity + longest_s
    return Overload(capacity, limits["max_requests"], bound_s, offers)


async def _offer(
    send: Send, workload: Sequence[LoadRequest], factor: int, rate: float, seconds: float
) -> Offer:
    arrivals = poisson_arrivals(rate, _SEED + factor, Bounds(seconds=seconds))
    # The processor time of this process, which is the load generator.
    busy_s = -time.process_time()
    samples = await open_loop(send, workload, arrivals)
    busy_s += time.process_time()
    lasted_s = max(sample.intended_s + sample.latency_s for sample in samples)
    return _summarise(samples, factor, seconds, busy_s / lasted_s)


def _summarise(
    samples: Sequence[Sample], factor: int, seconds: float, generator_share: float
) -> Offer:
    began = _WARM_UP_SHARE * seconds
    arrived = [sample for sample in samples if sample.intended_s >= began]
    refused = [sample.reply for sample in arrived if not sample.is_good]
    waits_s = [reply.retry_after_s for reply in refused if reply.retry_after_s is not None]
    ends = [sample.intended_s + sample.latency_s for sample in samples if sample.is_good]
    return Offer(
        factor=factor,
        offered_per_s=len(arrived) / (seconds - began),
        # Answers after the last arrival do not count: the queue drains then, without load.
        goodput_per_s=sum(began <= end < seconds for end in ends) / (seconds - began),
        latency_s=Percentiles.of([sample.latency_s for sample in arrived if sample.is_good]),
        refused_share=len(refused) / max(len(arrived), 1),
        codes=dict(Counter(str(reply.code) for reply in refused)),
        retry_after_s=(min(waits_s), median(waits_s), max(waits_s)) if waits_s else None,
        num_without_retry_after=len(refused) - len(waits_s),
        generator_share=generator_share,
        generator_behind_s=max(sample.sent_s - sample.intended_s for sample in samples),
    )


def to_report(overload: Overload, seconds: float) -> dict[str, Any]:
    """Return the rounded figures by name, with one entry for each factor."""
    report: dict[str, Any] = {
        "tool": "overload",
        "seconds": seconds,
        "capacity_per_s": round(overload.capacity_per_s, 2),
        "num_places": overload.capacity,
        "latency_bound_s": round(overload.latency_bound_s, 2),
    }
    for offer in overload.offers:
        report[f"{offer.factor}x"] = {
            "offered_per_s": round(offer.offered_per_s, 2),
            "goodput_per_s": round(offer.goodput_per_s, 2),
            "p99_s": None if offer.latency_s is None else round(offer.latency_s.p99, 2),
            "refused_share": round(offer.refused_share, 3),
            "retry_after_s": offer.retry_after_s,
            "generator_share": round(offer.generator_share, 3),
            "generator_behind_s": round(offer.generator_behind_s, 3),
        }
    return report


def main() -> int:
    """Run the measurement as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="duration at each rate")
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    exit_codes = []
    for tool, through_all_doors in (("overload", False), ("overload_doors", True)):
        machine = describe_machine()
        with running_service(**SETTINGS) as service:
            overload = run_load(
                measure_overload(service, arguments.seconds, through_all_doors=through_all_doors)
            )
        report = to_report(overload, arguments.seconds) | {"tool": tool, "machine": machine}
        exit_codes.append(publish(report, overload.violations, arguments.out))
    return max(exit_codes)


if __name__ == "__main__":
    sys.exit(main())

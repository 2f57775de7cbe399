"""`make chaos`: constant mixed load, a random fault every few seconds, every request accounted for.

    python -m reliability.chaos [--seconds 600] [--seed 0] [--out FOLDER]

The exit code is 1 when a request was lost, hung, answered twice or answered differently because of
a fault, or when the service did not release a resource.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from app.bench.loops import Bounds, poisson_arrivals, run_load
from benchmarks.machine import describe_machine
from harness.service import RunningService, running_service
from reliability.aftermath import (
    NUM_HTTP_PROCESSES,
    engine_deaths,
    leftovers_of,
    times_logged,
)
from reliability.attempts import Attempt, random_attempts
from reliability.client import ChaosClient
from reliability.faults import Target
from reliability.ledger import VIOLATIONS, Ledger, Record, count_fates
from reliability.plan import ChaosPlan, Track
from reliability.processes import ServiceProcesses
from reliability.questions import Question, bad_questions, good_questions
from reliability.results import publish

DEADLINE_S, MARGIN_S = 120.0, 30.0
# The service ends every request by its deadline; a client that waits longer has found a hang.
LIMIT_S = DEADLINE_S + MARGIN_S
BODY_TIMEOUT_S, PAUSE_S = 8.0, 1.5
MAX_BODY_BYTES = 2**20
SETTINGS = {
    "http_workers": NUM_HTTP_PROCESSES,
    "deadline_s": DEADLINE_S,
    "body_timeout_s": BODY_TIMEOUT_S,
    "max_body_bytes": MAX_BODY_BYTES,
}
_NUM_QUESTIONS = 40
_NUM_SHOWN = 5


@contextmanager
def chaos_service() -> Iterator[RunningService]:
    """Run a service with limits so short that the load reaches them."""
    with running_service(**SETTINGS) as service:
        yield service


async def run_chaos(service: RunningService, plan: ChaosPlan) -> tuple[dict[str, Any], list[str]]:
    """Run load and faults, wait until the service is idle, and return the report and violations.

    Raises:
        RuntimeError: the service fails even without faults.
    """
    machine = describe_machine()
    # Each request has its own connection, whose port identifies the HTTP process that has it.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    # `ChaosClient` applies the real limit, so the timeout of httpx must never be the first.
    async with httpx.AsyncClient(limits=limits, timeout=2 * LIMIT_S) as http:
        good = good_questions(_NUM_QUESTIONS, plan.seed)
        client = ChaosClient(http, service.url, LIMIT_S, PAUSE_S)
        began = time.monotonic()
        answers = await _learn_answers(client, good)
        # The rate of one sequential client is far below the capacity, so the queue can drain.
        rate = len(good) / (time.monotonic() - began)
        target = _create_target(service, client, answers, plan.seed)
        faults = await _run_load_and_faults(target, good, rate, plan)
        leftovers = await leftovers_of(service, target.state)
    records = target.ledger.records(times_logged(service))
    recoveries_s = [round(seconds, 2) for seconds in target.recoveries_s]
    report = {
        "tool": "chaos",
        **asdict(plan),
        "machine": machine,
        "requests_per_s": round(rate, 2),
        "faults": dict(sorted(faults.items())),
        **count_fates(records),
        **await engine_deaths(service),
        "recovery_s": recoveries_s,
        "worst_recovery_s": max(recoveries_s, default=None),
        "leftovers": leftovers,
    }
    return report, _violations(records, leftovers)


def _create_target(
    service: RunningService,
    client: ChaosClient,
    answers: Mapping[Question, dict[str, Any]],
    seed: int,
) -> Target:
    return Target.create(
        ServiceProcesses(service.process.pid),
        client,
        Ledger(answers),
        probe=next(question for question in answers if "seed" not in question.fields),
        max_body_bytes=MAX_BODY_BYTES,
        seed=seed,
    )


async def _learn_answers(
    client: ChaosClient, questions: Sequence[Question]
) -> dict[Question, dict[str, Any]]:
    """Return the answer to each question, sent alone before the first fault."""
    answers = {}
    for number, question in enumerate(questions):
        ending = await client.perform(Attempt(f"reference-{number}", question))
        if ending.answer is None:
            raise RuntimeError(f"the service did not answer a question without faults: {ending}")
        answers[question] = ending.answer
    return answers


async def _run_load_and_faults(
    target: Target, good: Sequence[Question], rate: float, plan: ChaosPlan
) -> Counter[str]:
    """Run load and faults in parallel until all requests have ended; return the fault counts."""
    async with asyncio.TaskGroup() as everything:
        everything.create_task(_load(target, good, rate, plan))
        # A generator for each track: otherwise a delay on one would change the faults of the
        # others.
        tracks = [
            everything.create_task(_inject(target, track, f"{plan.seed} {name}", plan.seconds))
            for name, track in plan.tracks.items()
        ]
    return sum((track.result() for track in tracks), Counter[str]())


async def _load(target: Target, good: Sequence[Question], rate: float, plan: ChaosPlan) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    attempts = random_attempts(good, bad_questions(), plan.seed)
    async with asyncio.TaskGroup() as requests:
        for arrival in poisson_arrivals(rate, plan.seed, Bounds(seconds=plan.seconds)):
            # Arrivals do not wait for answers: otherwise each fault would reduce the load after it.
            await asyncio.sleep(began + arrival - clock())
            requests.create_task(target.send(next(attempts)))


async def _inject(target: Target, track: Track, seed: str, seconds: float) -> Counter[str]:
    """Inject faults in sequence and return how many of each kind there were."""
    clock, faults = asyncio.get_running_loop().time, Counter[str]()
    ends_at = clock() + seconds
    for gap_s, fault in track.schedule(seed):
        # Requests that are still running after the load must be able to finish.
        if clock() + gap_s >= ends_at:
            break
        await asyncio.sleep(gap_s)
        # `False`, when there was no process to hit, adds 0.
        faults[fault.__name__] += await fault(target)
    return faults


def _violations(records: Sequence[Record], leftovers: dict[str, float]) -> list[str]:
    """Return the missed goals, with some examples each."""
    found = [f"{name} is {value:g} after the run" for name, value in leftovers.items()]
    for fate in VIOLATIONS:
        met = [record for record in records if record.fate == fate]
        examples = [
            f"{record.attempt.request_id} ({record.attempt.manner}; {record.ending.kind} "
            f"{record.ending.status} {record.ending.code})"
            for record in met[:_NUM_SHOWN]
        ]
        if met:
            found.append(f"{len(met)} {fate.replace('_', ' ')}: {', '.join(examples)}")
    return found


def main() -> int:
    """Run chaos as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0, help="duration of load and faults")
    parser.add_argument("--seed", type=int, default=0, help="of load and faults")
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    plan = ChaosPlan(arguments.seconds, arguments.seed)
    with chaos_service() as service:
        report, violations = run_load(run_chaos(service, plan))
    return publish(report, violations, arguments.out)


if __name__ == "__main__":
    sys.exit(main())

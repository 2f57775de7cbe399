"""`make chaos`: constant mixed load, a random fault every few seconds, and an account of it all.

    python -m reliability.chaos [--seconds 600] [--seed 0] [--out FOLDER]

Ends with code 1 when a request was lost, hung, answered twice or otherwise than undisturbed, or
when something that it held was not given back.
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

from app.bench.loops import Bounds, poisson_arrivals
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
def suffering_service() -> Iterator[RunningService]:
    """A service as chaos wants it: short limits, so that they are reached."""
    with running_service(**SETTINGS) as service:
        yield service


async def run_chaos(service: RunningService, plan: ChaosPlan) -> tuple[dict[str, Any], list[str]]:
    """Do it, and wait until all is quiet: the report, and what was violated.

    Raises:
        RuntimeError: the service does not even answer undisturbed.
    """
    machine = describe_machine()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=2 * LIMIT_S) as http:
        good = good_questions(_NUM_QUESTIONS, plan.seed)
        client = ChaosClient(http, service.url, LIMIT_S, PAUSE_S)
        began = time.monotonic()
        answers = await _learn_answers(client, good)
        # As fast as one client that waits: much less than the service can, much of the time.
        rate = len(good) / (time.monotonic() - began)
        target = _aim(service, client, answers, plan.seed)
        faults = await _run_load_and_faults(target, good, rate, plan)
        leftovers = await leftovers_of(service, target.page)
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


def _aim(
    service: RunningService,
    client: ChaosClient,
    answers: Mapping[Question, dict[str, Any]],
    seed: int,
) -> Target:
    return Target.aimed(
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
    """The answer to each question, asked alone, before anything is disturbed."""
    answers = {}
    for number, question in enumerate(questions):
        ending = await client.perform(Attempt(f"reference-{number}", question))
        if ending.answer is None:
            raise RuntimeError(f"undisturbed, a question is not answered: {ending}")
        answers[question] = ending.answer
    return answers


async def _run_load_and_faults(
    target: Target, good: Sequence[Question], rate: float, plan: ChaosPlan
) -> Counter[str]:
    """Load and faults side by side, until the time is over and all is answered; the faults."""
    async with asyncio.TaskGroup() as everything:
        everything.create_task(_load(target, good, rate, plan))
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
            await asyncio.sleep(began + arrival - clock())
            requests.create_task(target.send(next(attempts)))


async def _inject(target: Target, track: Track, seed: str, seconds: float) -> Counter[str]:
    """Faults one after the other; how many of each there were."""
    clock, faults = asyncio.get_running_loop().time, Counter[str]()
    ends_at = clock() + seconds
    for gap_s, fault in track.schedule(seed):
        if clock() + gap_s >= ends_at:
            break
        await asyncio.sleep(gap_s)
        faults[fault.__name__] += await fault(target)
    return faults


def _violations(records: Sequence[Record], leftovers: dict[str, float]) -> list[str]:
    """What must not be, each with some examples."""
    found = [f"{name} is {value:g} when all is over" for name, value in leftovers.items()]
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
    """Run as the command line says; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder for the line of JSON")
    arguments = parser.parse_args()
    plan = ChaosPlan(arguments.seconds, arguments.seed)
    with suffering_service() as service:
        report, violations = asyncio.run(run_chaos(service, plan))
    return publish(report, violations, arguments.out)


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: constant mixed load, a random fault every few seconds, and an account of it all.

    python -m reliability.chaos [--seconds 600] [--seed 0] [--out FOLDER]

Ends with code 1 when a request was lost, hung, answered twice or otherwise than undisturbed, or
when something that it held was not given back.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from app.load.loops import Bounds, poisson_arrivals
from benchmarks.machine import describe_machine
from reliability.aftermath import (
    NUM_HTTP_PROCESSES,
    engine_deaths,
    leftovers_of,
    times_logged,
)
from reliability.attempts import Attempt, random_attempts
from reliability.client import ChaosClient
from reliability.faults import PROCESS_FAULTS, Fault, Target, hang_engine
from reliability.ledger import VIOLATIONS, Ledger, Record, count_fates
from reliability.processes import ServiceProcesses
from reliability.questions import Question, bad_questions, good_questions
from reliability.results import tell
from reliability.wire_faults import WIRE_FAULTS
from tests.support.service import RunningService, running_service

DEADLINE_S, MARGIN_S = 120.0, 30.0
LIMIT_S = DEADLINE_S + MARGIN_S
BODY_TIMEOUT_S, PAUSE_S = 8.0, 2.0
MAX_BODY_BYTES = 2**20
SETTINGS = {
    "http_workers": NUM_HTTP_PROCESSES,
    "deadline_s": DEADLINE_S,
    "body_timeout_s": BODY_TIMEOUT_S,
    "max_body_bytes": MAX_BODY_BYTES,
}
HANGS_FROM_S = 120.0
"""A hang takes the watchdog half a minute to see: shorter runs go without."""

_NUM_QUESTIONS = 40
_REQUESTS_PER_S = 6.0
_GAPS_S = (0.5, 6.0)
_NUM_SHOWN = 5


@dataclass(frozen=True)
class ChaosPlan:
    """What is to be done to the service.

    Attributes:
        seconds: of load and faults; what is under way then comes to its end.
        seed: of all choices.
    """

    seconds: float
    seed: int

    def tracks(self) -> dict[str, Sequence[Fault]]:
        """The faults, those of a track one after the other, the tracks at the same time.

        >>> sorted(ChaosPlan(60, 0).tracks())
        ['engine', 'http', 'wire']
        """
        hangs = (hang_engine,) if self.seconds >= HANGS_FROM_S else ()
        engine = (*PROCESS_FAULTS["engine"], *hangs)
        return {**PROCESS_FAULTS, "engine": engine, "wire": WIRE_FAULTS}


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
        target = await _aim(service, client, good, plan.seed)
        faults = await _torment(target, good, plan)
        leftovers = await leftovers_of(service, target.page)
    records = target.ledger.records(times_logged(service))
    recoveries_s = [round(seconds, 2) for seconds in target.recoveries_s]
    report = {
        "tool": "chaos",
        **asdict(plan),
        "machine": machine,
        "faults": dict(sorted(faults.items())),
        **count_fates(records),
        **await engine_deaths(service),
        "recovery_s": recoveries_s,
        "worst_recovery_s": max(recoveries_s, default=None),
        "leftovers": leftovers,
    }
    return report, _violations(records, leftovers)


async def _aim(
    service: RunningService, client: ChaosClient, good: Sequence[Question], seed: int
) -> Target:
    """Learn all that is to be known of the service while it is well."""
    return Target.aimed(
        ServiceProcesses(service.process.pid),
        client,
        Ledger(await _learn_answers(client, good)),
        probe=next(question for question in good if "seed" not in question.fields),
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


async def _torment(target: Target, good: Sequence[Question], plan: ChaosPlan) -> Counter[str]:
    """Load and faults side by side, until the time is over and all is answered."""
    faults = Counter[str]()
    async with asyncio.TaskGroup() as everything:
        everything.create_task(_load(target, good, plan))
        for name, kinds in plan.tracks().items():
            rng = random.Random(f"{plan.seed} {name}")
            everything.create_task(_inject(target, kinds, rng, plan.seconds, faults))
    return faults


async def _load(target: Target, good: Sequence[Question], plan: ChaosPlan) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    attempts = random_attempts(good, bad_questions(), plan.seed)
    async with asyncio.TaskGroup() as requests:
        for arrival in poisson_arrivals(_REQUESTS_PER_S, plan.seed, Bounds(seconds=plan.seconds)):
            await asyncio.sleep(began + arrival - clock())
            requests.create_task(target.send(next(attempts)))


async def _inject(
    target: Target,
    kinds: Sequence[Fault],
    rng: random.Random,
    seconds: float,
    faults: Counter[str],
) -> None:
    """Faults one after the other: all kinds in random order, again and again."""
    clock = asyncio.get_running_loop().time
    ends_at = clock() + seconds
    waiting = list[Fault]()
    while (gap_s := rng.uniform(*_GAPS_S)) < ends_at - clock():
        await asyncio.sleep(gap_s)
        waiting = waiting or rng.sample(kinds, len(kinds))
        fault = waiting.pop()
        await fault(target)
        faults[fault.__name__] += 1


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
    return tell(report, violations, arguments.out)


if __name__ == "__main__":
    sys.exit(main())

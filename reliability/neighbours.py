"""Answers requests alone and in parallel with 31 others, on several instruction sets, and compares.

    python -m reliability.neighbours [--requests 10000] [--jobs 1] [--keep FOLDER] [--out FOLDER]

Requests of all tasks are sent to the embedded checkpoint and to random weights: a quarter of
`--requests` for each combination of two temperatures and two checkpoints, and half of `--requests`
as greedy ones. The report lists each answer that differs, with its margin: the difference between
the two best candidates (of the sampling race, or of the logits if greedy) at the first token that
differs.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.machine import describe_machine
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.instruction_sets import INSTRUCTION_SETS
from harness.reference import Reference
from reliability.neighbour_shards import (
    SHARD_REQUESTS,
    Answers,
    Case,
    Shard,
    Work,
    answers_of,
    work_of,
)
from reliability.results import publish

CHECKPOINTS = ("embedded", "random")
MAX_DIFFERENT_SHARE = 2 / 10_000
"""Allowed share of sampled answers that differ alone and among others, on one instruction set."""

MAX_DIFFERENT_ACROSS_SETS = 1 / 100
"""Allowed share of answers given alone that differ between two instruction sets."""

GREEDY_TIE = 1e-5
"""Greedy answers may differ only where the two best logits are closer than this."""


@dataclass(frozen=True)
class Difference:
    """Two different answers to one request.

    Attributes:
        instruction_set: of both answers.
        case: the checkpoint and the temperature.
        step: index of the first new token that differs.
        margin: the difference that decided between the two tokens.
    """

    instruction_set: str
    case: str
    number: int
    step: int
    margin: float


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Return the first step at which two answers differ, `None` if they are equal."""
    pairs = zip(ours, theirs, strict=False)
    shorter = min(len(ours), len(theirs))
    step = next((step for step, (a, b) in enumerate(pairs) if a != b), shorter)
    return None if step == len(ours) == len(theirs) else step


def differences(
    instruction_set: str,
    case: Case,
    answers: Mapping[str, Answers],
    work: Sequence[Work],
    reference: Reference,
) -> Iterator[Difference]:
    """Yield every request of a case whose answers alone and together differ."""
    for number, (alone, together) in enumerate(
        zip(answers["alone"], answers["together"], strict=True)
    ):
        step = _first_difference(alone, together)
        if step is not None:
            margin = reference.margin(*work[number], alone[:step])
            yield Difference(instruction_set, str(case), number, step, margin)


def _num_different(answers: Answers, others: Answers) -> int:
    return sum(ours != theirs for ours, theirs in zip(answers, others, strict=True))


def violations_of(report: Mapping[str, Any]) -> list[str]:
    """Return the missed goals."""
    found = []
    for name, counts in report["instruction_sets"].items():
        if counts["sampled_different"] > MAX_DIFFERENT_SHARE * counts["sampled"]:
            found.append(f"{name}: {counts['sampled_different']} sampled answers differ")
        if counts["across_different"] > MAX_DIFFERENT_ACROSS_SETS * counts["across"]:
            found.append(f"{name}: {counts['across_different']} answers differ from the native set")
    for difference in report["differences"]:
        if "temperature 0" in difference["case"].split(", ")[1:] and (
            difference["margin"] > GREEDY_TIE
        ):
            found.append(f"a greedy answer differs without a tie: {difference}")
    return found


def run(
    num_requests: int,
    temperatures: Sequence[float],
    instruction_sets: Sequence[str],
    num_jobs: int,
    kept_answers: Path | None = None,
) -> dict[str, Any]:
    """Measure all cases under each instruction set; the first is the one others are compared with.

    Args:
        num_requests: at two temperatures and two checkpoints together.
        instruction_sets: names of `INSTRUCTION_SETS`.
        num_jobs: processes at a time.
        kept_answers: a folder that keeps the answers, so that a stopped run continues.
    """
    machine, began = describe_machine(), time.monotonic()
    cases = [Case(checkpoint, t) for checkpoint in CHECKPOINTS for t in temperatures]
    counts: dict[str, dict[str, int]] = {}
    found: list[Difference] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(num_jobs) as threads:
        directories = _checkpoints(Path(folder))
        shards = {
            (name, case): [
                threads.submit(
                    answers_of,
                    Shard(name, case, directories[case.checkpoint], num_requests, start),
                    kept_answers or Path(folder),
                )
                for start in range(0, num_requests // 4, SHARD_REQUESTS)
            ]
            for name in instruction_sets
            for case in cases
        }
        native: dict[Case, dict[str, Answers]] | None = None
        for name in instruction_sets:
            answers = {case: _joined(shards[name, case]) for case in cases}
            native = native or answers
            differing = list(_all_differences(name, answers, directories, num_requests))
            counts[name] = _counts(answers, native, differing)
            found += differing
    return {
        "tool": "neighbours",
        "seconds": round(time.monotonic() - began),
        "instruction_sets": counts,
        "differences": [asdict(difference) for difference in found],
        "machine": machine,
    }


def _joined(shards: Sequence[Future[dict[str, Answers]]]) -> dict[str, Answers]:
    parts = [shard.result() for shard in shards]
    return {way: [answer for part in parts for answer in part[way]] for way in parts[0]}


def _checkpoints(folder: Path) -> dict[str, Path]:
    config = tiny_config(EMBEDDED_CHECKPOINT)
    random_weights = write_random_checkpoint(folder / "random", config, EMBEDDED_CHECKPOINT)
    return {"embedded": EMBEDDED_CHECKPOINT, "random": random_weights}


def _all_differences(
    instruction_set: str,
    answers: Mapping[Case, Mapping[str, Answers]],
    directories: Mapping[str, Path],
    num_requests: int,
) -> Iterator[Difference]:
    for case, both in answers.items():
        directory = directories[case.checkpoint]
        work = work_of(case, directory, num_requests)
        yield from differences(instruction_set, case, both, work, Reference(directory))


def _counts(
    answers: Mapping[Case, Mapping[str, Answers]],
    native: Mapping[Case, Mapping[str, Answers]],
    differing: Sequence[Difference],
) -> dict[str, int]:
    greedy = {str(case) for case in answers if case.temperature == 0}
    return {
        "sampled": sum(len(both["alone"]) for case, both in answers.items() if case.temperature),
        "sampled_different": sum(d.case not in greedy for d in differing),
        "greedy": sum(len(both["alone"]) for case, both in answers.items() if not case.temperature),
        "greedy_different": sum(d.case in greedy for d in differing),
        "across": sum(len(both["alone"]) for both in answers.values()),
        "across_different": sum(
            _num_different(both["alone"], native[case]["alone"]) for case, both in answers.items()
        ),
    }


def main() -> int:
    """Run the comparison as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000, help="number of sampled requests")
    parser.add_argument("--instruction-sets", nargs="+", default=list(INSTRUCTION_SETS))
    parser.add_argument("--out", type=Path, help="a folder for the line of JSON")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 0.7, 1.5])
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--keep", type=Path, help="a folder for answers; a stopped run continues")
    arguments = parser.parse_args()
    report = run(
        arguments.requests,
        arguments.temperatures,
        arguments.instruction_sets,
        arguments.jobs,
        arguments.keep,
    )
    return publish(report, violations_of(report), arguments.out)


if __name__ == "__main__":
    sys.exit(main())

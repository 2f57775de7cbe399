"""Answers requests alone and in parallel with 31 others, on several instruction sets, and compares.

    python -m reliability.neighbours [--requests 10000] [--jobs 1] [--out FOLDER]

Requests of all tasks are sent to the embedded checkpoint and to random weights: a quarter of
`--requests` for each combination of two temperatures and two checkpoints, and half of `--requests`
as greedy ones. The report lists each answer that differs, with its margin: the difference between
the two best candidates (of the sampling race, or of the logits if greedy) at the first token that
differs.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.checkpoint.files import open_checkpoint
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import SamplingParameters
from app.ipc.pending_request import Prompt
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.supervisor.lone_engine import running_engine
from benchmarks.machine import describe_machine
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.exactness import answer_all
from harness.instruction_sets import INSTRUCTION_SETS
from harness.reference import Reference
from harness.requests import random_requests
from harness.scenes import scene_pixels
from reliability.results import publish

CONCURRENCY = 32
CHECKPOINTS = ("embedded", "random")
SHARD_REQUESTS = 625
"""Of a case, answered by one engine."""

MAX_NEW_TOKENS = 24
NUM_PICTURES = 48
MAX_DIFFERENT_SHARE = 2 / 10_000
"""Allowed share of sampled answers that differ alone and among others, on one instruction set."""

MAX_DIFFERENT_ACROSS_SETS = 1 / 100
"""Allowed share of answers given alone that differ between two instruction sets."""

GREEDY_TIE = 1e-5
"""Greedy answers may differ only where the two best logits are closer than this."""

Work = tuple[Prompt, SamplingParameters]
Answers = list[list[int]]


@dataclass(frozen=True)
class Case:
    """A checkpoint and a temperature.

    Attributes:
        checkpoint: `embedded` or `random`.
        temperature: 0 means greedy.
    """

    checkpoint: str
    temperature: float

    def __str__(self) -> str:
        return f"{self.checkpoint}, temperature {self.temperature:g}"


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


def work_of(case: Case, directory: Path, num_requests: int) -> list[Work]:
    """Return the requests of a case: a quarter of `num_requests`, the same in every process."""
    pictures = scene_pixels(NUM_PICTURES) if case.checkpoint == "embedded" else None
    requests = random_requests(
        Kosmos2Tokenizer.load(directory),
        num_requests // 4,
        num_pictures=NUM_PICTURES,
        pictures=pictures,
    )
    return [
        (
            request.prompt,
            SamplingParameters(
                max_new_tokens=MAX_NEW_TOKENS,
                no_repeat_ngram_size=request.ngram_size,
                temperature=case.temperature,
                # 3 and 4 have no common factor, so all combinations of the filters occur.
                top_k=(0, 0, 50)[number % 3],
                top_p=(1.0, 0.9)[number % 4 == 3],
                seed=number,
            ),
        )
        for number, request in enumerate(requests)
    ]


async def _answer(directory: Path, work: Sequence[Work]) -> dict[str, Answers]:
    settings = Settings(model=str(directory), device="cpu", max_waiting=1000)
    async with running_engine(settings, open_checkpoint(settings.model)) as engine:
        return {
            "alone": await answer_all(engine, work, 1),
            "together": await answer_all(engine, work, CONCURRENCY),
        }


def _measure(case: Case, directory: Path, num_requests: int, start: int, file: Path) -> None:
    """In a process of its own: answer a shard of a case under the environment's instructions."""
    shard = work_of(case, directory, num_requests)[start : start + SHARD_REQUESTS]
    file.write_text(json.dumps(asyncio.run(_answer(directory, shard))))


def _answers_under(
    instruction_set: str, case: Case, directory: Path, num_requests: int, start: int
) -> dict[str, Answers]:
    """Answers of a shard of a case under an instruction set, alone and together."""
    with tempfile.NamedTemporaryFile() as file:
        shard = (case.checkpoint, f"{case.temperature:g}", str(directory), str(start), file.name)
        command = [sys.executable, "-m", "reliability.neighbours", "--measure", *shard]
        subprocess.run(
            [*command, "--requests", str(num_requests)],
            # The libraries read these variables when they are loaded, so each set needs a process.
            env=os.environ | INSTRUCTION_SETS[instruction_set],
            check=True,
        )
        answers: dict[str, Answers] = json.loads(Path(file.name).read_bytes())
    print(f"  {instruction_set}: {case}, from request {start}", file=sys.stderr)
    return answers


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
) -> dict[str, Any]:
    """Measure all cases under each instruction set; the first is the one others are compared with.

    Args:
        num_requests: at two temperatures and two checkpoints together.
        instruction_sets: names of `INSTRUCTION_SETS`.
        num_jobs: processes at a time.
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
                    _answers_under, name, case, directories[case.checkpoint], num_requests, start
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
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        checkpoint, temperature, directory, start, file = arguments.measure
        case = Case(checkpoint, float(temperature))
        _measure(case, Path(directory), arguments.requests, int(start), Path(file))
        return 0
    report = run(
        arguments.requests, arguments.temperatures, arguments.instruction_sets, arguments.jobs
    )
    return publish(report, violations_of(report), arguments.out)


if __name__ == "__main__":
    sys.exit(main())

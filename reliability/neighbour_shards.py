"""Answers parts of the requests of `reliability.neighbours`, each in a process of its own.

A whole comparison takes hours. So each part, a shard, has a file of answers, and a run that was
stopped continues with the missing shards. The folder of the file is named by a digest of the
sources that decide about answers, so that answers of an older engine are never reused.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import app
from app.checkpoint.files import open_checkpoint
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import SamplingParameters
from app.ipc.pending_request import Prompt
from app.settings import Settings
from app.supervisor.lone_engine import running_engine
from harness.exactness import answer_all
from harness.instruction_sets import INSTRUCTION_SETS
from harness.requests import random_requests
from harness.scenes import scene_pixels

SHARD_REQUESTS = 625
"""Of a case, answered by one engine."""

CONCURRENCY = 32
MAX_NEW_TOKENS = 24
NUM_PICTURES = 48
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
class Shard:
    """A part of a case's requests, answered by one engine.

    Attributes:
        directory: of the checkpoint.
        num_requests: as in `work_of`.
        start: index of the first request; `SHARD_REQUESTS` follow.
    """

    instruction_set: str
    case: Case
    directory: Path
    num_requests: int
    start: int

    def __str__(self) -> str:
        return f"{self.instruction_set}, {self.case}, {self.num_requests}, {self.start}"


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


def answers_of(shard: Shard, folder: Path) -> dict[str, Answers]:
    """Return a shard's answers, alone and together, from its file if an earlier run wrote it.

    Args:
        folder: of the files of answers.
    """
    file = folder / engine_digest() / f"{shard}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        case = (shard.case.checkpoint, str(shard.case.temperature))
        numbers = (str(shard.num_requests), str(shard.start))
        subprocess.run(
            [sys.executable, "-m", __name__, *case, str(shard.directory), *numbers, str(file)],
            # The libraries read these variables when they are loaded, so each set needs a process.
            env=os.environ | INSTRUCTION_SETS[shard.instruction_set],
            check=True,
        )
        print(f"  {shard}", file=sys.stderr)
    answers: dict[str, Answers] = json.loads(file.read_bytes())
    return answers


def engine_digest() -> str:
    """Return a digest of the sources of the engine, the model and the requests."""
    root = Path(app.__file__).parent
    folders = [root / name for name in ("engine", "grounding", "ipc", "model")]
    sources = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]


def main() -> None:
    """Answer a shard under the environment's instruction set and write its file."""
    checkpoint, temperature, directory, num_requests, start, file = sys.argv[1:]
    case, begin = Case(checkpoint, float(temperature)), int(start)
    work = work_of(case, Path(directory), int(num_requests))[begin : begin + SHARD_REQUESTS]
    partial = Path(f"{file}.partial")
    partial.write_text(json.dumps(asyncio.run(_answer(Path(directory), work))))
    partial.replace(file)


if __name__ == "__main__":
    main()

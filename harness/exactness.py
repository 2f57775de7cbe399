"""Sends many requests through a real engine process and compares each answer with the reference."""

import asyncio
import random
import sys
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from app.checkpoint.files import open_checkpoint
from app.ipc.engine_client import EngineClient
from app.ipc.engine_messages import NewToken, SamplingParameters
from app.ipc.pending_request import Prompt
from app.settings import Settings
from app.supervisor.lone_engine import running_engine
from harness.reference import Reference

MAX_EXCUSED_SHARE = 0.01


@dataclass(frozen=True)
class Request:
    """A greedy request."""

    prompt: Prompt
    max_new_tokens: int
    ngram_size: int


@dataclass(frozen=True)
class Report:
    """The result of a comparison.

    Attributes:
        num_equal: answers that are equal token for token.
        excused_gaps: logit differences where answers differ at a tie.
        wrong: descriptions of the other answers.
    """

    num_answers: int
    num_equal: int
    excused_gaps: list[float]
    wrong: list[str]

    def check(self) -> None:
        """Print the counts and fail if an answer is wrong or too many differ at ties."""
        print(
            f"{self.num_answers} answers, {self.num_equal} equal, "
            f"{len(self.excused_gaps)} at a tie {self.excused_gaps}, {len(self.wrong)} wrong",
            file=sys.stderr,
        )
        assert not self.wrong, self.wrong[:5]
        assert len(self.excused_gaps) <= MAX_EXCUSED_SHARE * self.num_answers


async def answer(engine: EngineClient, prompt: Prompt, sampling: SamplingParameters) -> list[int]:
    """Return the new tokens of one request."""
    new_tokens: list[NewToken] = []
    async with aclosing(engine.generate(prompt, sampling, monotonic() + 600)) as generated:
        async for new_token in generated:
            new_tokens.append(new_token)
    assert new_tokens[-1].finish_reason is not None
    return [new_token.token_id for new_token in new_tokens]


async def answer_all(
    engine: EngineClient, requests: Sequence[tuple[Prompt, SamplingParameters]], concurrency: int
) -> list[list[int]]:
    """Answer requests in a shuffled order, at most `concurrency` at once."""
    order = list(range(len(requests)))
    # Another order for each concurrency, so that a request gets other neighbours.
    random.Random(concurrency).shuffle(order)
    permits = asyncio.Semaphore(concurrency)

    async def answer_one(number: int) -> tuple[int, list[int]]:
        async with permits:
            return number, await answer(engine, *requests[number])

    answered = dict(await asyncio.gather(*(answer_one(number) for number in order)))
    return [answered[number] for number in range(len(requests))]


def compare(
    directory: Path,
    requests: Sequence[Request],
    concurrencies: Iterable[int],
    settings: Settings | None = None,
) -> Report:
    """Answer the same requests at each concurrency, and compare every answer."""
    settings = settings or Settings(model=str(directory), max_waiting=1000)
    reference = Reference(directory)
    expected = [
        reference.generate(r.prompt.token_ids, r.prompt.pixels, r.max_new_tokens, r.ngram_size)
        for r in requests
    ]
    sampled = [
        (
            r.prompt,
            SamplingParameters(max_new_tokens=r.max_new_tokens, no_repeat_ngram_size=r.ngram_size),
        )
        for r in requests
    ]

    async def run() -> dict[int, list[list[int]]]:
        async with running_engine(settings, open_checkpoint(settings.model)) as engine:
            return {c: await answer_all(engine, sampled, c) for c in concurrencies}

    num_equal, gaps, wrong = 0, [], []
    for concurrency, answers in asyncio.run(run()).items():
        for number, (request, ours, theirs) in enumerate(
            zip(requests, answers, expected, strict=True)
        ):
            verdict = reference.judge(
                ours, theirs, request.prompt.token_ids, request.prompt.pixels, request.ngram_size
            )
            if verdict.is_equal:
                num_equal += 1
            elif verdict.is_excused:
                gaps.append(verdict.gap)
            else:
                wrong.append(f"request {number} at {concurrency}: {ours} != {theirs}")
    return Report(num_equal + len(gaps) + len(wrong), num_equal, gaps, wrong)

"""With 8-bit weights, an answer depends neither on its batch, nor on the cache, nor on a replay.

Prefixes of pictures are computed less finely than prompts and new tokens, so a token that one pass
computes must never be computed by the other.
"""

import math
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from app.checkpoint.files import open_checkpoint
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import EMBEDDED_CHECKPOINT, Settings
from harness.requests import random_requests

pytestmark = [pytest.mark.kernels, pytest.mark.slow]

NUM_TOKENS = 12
Row = tuple[Generate, bytes]
Answer = list[tuple[int, float]]
"""Each token with its log-probability, which must be equal to the last bit."""


@pytest.fixture(scope="module")
def runner(directory: Path) -> Runner:
    settings = Settings(model=str(directory), slots=8, max_sequence_length=160, quantize="int8")
    return build_runner(settings, open_checkpoint(settings.model), lambda _: nullcontext())


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Greedy and sampled requests; two of them about one picture."""
    tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    prompts = [request.prompt for request in random_requests(tokenizer, 8, num_pictures=7)]
    samplings = [
        SamplingParameters(max_new_tokens=NUM_TOKENS, temperature=0.9 * (key % 2), seed=key)
        for key in range(len(prompts))
    ]
    return [
        (Generate(0, key, p.token_ids, p.picture_digest, sampling, math.inf), p.pixels)
        for key, (p, sampling) in enumerate(zip(prompts, samplings, strict=True))
    ]


@pytest.fixture(scope="module")
def alone(runner: Runner, rows: list[Row]) -> list[Answer]:
    """The answer to each request alone, with a new picture."""
    runner.pictures.clear()
    answers = []
    for row in rows:
        answers += answer(runner, [row])
        runner.pictures.clear()
    assert len({tuple(one) for one in answers}) == len(answers)
    return answers


def answer(runner: Runner, rows: list[Row]) -> list[Answer]:
    """Return the answers to requests that run together."""
    sequences = [Sequence(b"test", request, pixels, arrived_at=0.0) for request, pixels in rows]
    for sequence in sequences:
        sequence.slot = runner.slots.allocate()
    answers: dict[Sequence, Answer] = {sequence: [] for sequence in sequences}
    chosen = runner.prefill(sequences)
    while chosen:
        for choice in chosen:
            answers[choice.sequence].append((choice.token_id, choice.log_probability))
            choice.sequence.append(choice.token_id, lambda _: False)
            if choice.sequence.is_finished:
                runner.slots.free(choice.sequence.held_slot)
        chosen = runner.decode([sequence for sequence in sequences if not sequence.is_finished])
    return list(answers.values())


def test_alone_equals_together(runner: Runner, rows: list[Row], alone: list[Answer]) -> None:
    runner.pictures.clear()
    assert answer(runner, rows) == alone
    assert answer(runner, rows[::-1]) == alone[::-1]


def test_a_cached_picture_gives_the_answer_of_a_new_one(
    runner: Runner, rows: list[Row], alone: list[Answer]
) -> None:
    answer(runner, rows)
    before = runner.counts.encoded
    assert [answer(runner, [row])[0] for row in rows] == alone
    assert runner.counts.encoded == before


@pytest.mark.parametrize("number", [1, 2, 5, NUM_TOKENS - 1])
def test_a_replay_continues_the_undisturbed_answer(
    runner: Runner, rows: list[Row], alone: list[Answer], number: int
) -> None:
    """Tokens that a decode pass had computed are now part of a prompt."""
    runner.pictures.clear()
    replayed = [
        (msgspec.structs.replace(request, new_token_ids=[t for t, _ in known[:number]]), pixels)
        for (request, pixels), known in zip(rows, alone, strict=True)
    ]
    assert answer(runner, replayed) == [known[number:] for known in alone]

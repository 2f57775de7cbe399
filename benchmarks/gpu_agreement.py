"""Checks answers on the device: the runner's rows next to `generate` on each request alone."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from app.checkpoint.files import Checkpoint
from app.engine.process import build_runner
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import Settings
from benchmarks.device_memory import and_free
from benchmarks.full_size_times import TASKS, PictureTask
from benchmarks.rows import RunnerClock, noise_pictures
from benchmarks.timed_generation import TimedGeneration

ROWS = 8
NEW_TOKENS = 32

Half = Literal["bfloat16", "float16"]
HALVES: tuple[Half, ...] = ("bfloat16", "float16")
Question = tuple[bytes, PictureTask]
Answers = list[list[int]]


@dataclass(frozen=True)
class HalfAgreement:
    """The comparison of answers in 16 bits with those in float32.

    Attributes:
        share_equal: of answers that are equal token for token.
        mean_prefix: mean number of equal tokens at the start, of `NEW_TOKENS`.
        num_invalid: tokens whose logits were not finite because of overflows.
    """

    share_equal: float
    mean_prefix: float
    num_invalid: int


@dataclass(frozen=True)
class Agreement:
    """The comparison of answers, and the speed of `generate`.

    Attributes:
        share_equal: of float32 answers that equal those of `generate`, token for token.
        halves: the comparison of each 16-bit dtype with float32.
        token_s: seconds per token of `generate` in bfloat16, one row.
    """

    share_equal: float
    halves: Mapping[Half, HalfAgreement]
    token_s: float


def measure_agreement(checkpoint: Checkpoint, num_requests: int) -> Agreement:
    """Answer the same questions in several ways, with only one model in memory at a time."""
    pictures = noise_pictures(num_requests)
    questions = [(picture, TASKS[n % len(TASKS)]) for n, picture in enumerate(pictures)]
    float32, _ = and_free(lambda: _answer(checkpoint, "float32", questions))
    expected = and_free(lambda: _expected(checkpoint, questions))
    halves = {half: _compare(checkpoint, half, questions, float32) for half in HALVES}
    return Agreement(
        share_equal=_share_equal(float32, expected),
        halves=halves,
        token_s=and_free(lambda: _token_seconds(checkpoint, questions[0])),
    )


def _compare(
    checkpoint: Checkpoint, half: Half, questions: Sequence[Question], float32: Answers
) -> HalfAgreement:
    answers, num_invalid = and_free(lambda: _answer(checkpoint, half, questions))
    prefixes = [_common_prefix(*pair) for pair in zip(answers, float32, strict=True)]
    return HalfAgreement(
        share_equal=_share_equal(answers, float32),
        mean_prefix=sum(prefixes) / len(prefixes),
        num_invalid=num_invalid,
    )


def _answer(
    checkpoint: Checkpoint, dtype: Half | Literal["float32"], questions: Sequence[Question]
) -> tuple[Answers, int]:
    """Answer with the runner, in batches of different lengths; also count invalid tokens."""
    settings = Settings(
        model=str(checkpoint.directory), dtype=dtype, slots=ROWS, device=device_name()
    )
    runner = build_runner(settings, checkpoint, lambda _: nullcontext())
    clock = RunnerClock(runner, checkpoint.no_repeat_ngram_size)
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    answers: Answers = []
    num_invalid = 0
    for start in range(0, len(questions), ROWS):
        asked = questions[start : start + ROWS]
        prompts = [tokenizer.encode_prompt(task.prompt) for _, task in asked]
        passed = clock.run(prompts, [picture for picture, _ in asked], NEW_TOKENS)
        answers += passed.token_ids
        num_invalid += passed.num_invalid
    return answers, num_invalid


def _expected(checkpoint: Checkpoint, questions: Sequence[Question]) -> Answers:
    """Answer with `generate`, each question alone."""
    generation = TimedGeneration(checkpoint.directory, "float32", 1, device_name())
    return [generation.generate(generation.encode(*each), NEW_TOKENS) for each in questions]


def _token_seconds(checkpoint: Checkpoint, question: Question) -> float:
    generation = TimedGeneration(checkpoint.directory, "bfloat16", 1, device_name())
    inputs = generation.encode(*question)
    generation.seconds([inputs], 2)  # warm-up
    return generation.seconds_per_token([inputs], NEW_TOKENS)


def _share_equal(answers: Answers, expected: Answers) -> float:
    pairs = zip(answers, expected, strict=True)
    return sum(answer == other for answer, other in pairs) / len(answers)


def _common_prefix(answer: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(answer, other, strict=True))
    return next((index for index, (one, two) in pairs if one != two), len(answer))


def device_name() -> Literal["cpu", "cuda"]:
    """Return the device that the benchmark uses."""
    return "cuda" if torch.cuda.is_available() else "cpu"

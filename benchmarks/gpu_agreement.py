"""Whether answers on the device are right: the runner's rows beside `generate` on each alone."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from app.checkpoint import Checkpoint
from app.engine.process import build_runner
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import Settings
from benchmarks.full_size_times import TASKS, PictureTask
from benchmarks.rows import RunnerClock, noise_pictures
from benchmarks.timed_generation import TimedGeneration

ROWS = 8
NEW_TOKENS = 32

Question = tuple[bytes, PictureTask]
Answers = list[list[int]]


@dataclass(frozen=True)
class Agreement:
    """How answers compare, and how long the other took.

    Attributes:
        share_equal: of the float32 answers, those equal to `generate`'s, token for token.
        share_equal_bfloat16: of the bfloat16 answers, those equal to the float32 ones.
        mean_prefix_bfloat16: tokens until those part, of `NEW_TOKENS`, on average.
        token_s: of `generate` in bfloat16, one row, seconds a token.
    """

    share_equal: float
    share_equal_bfloat16: float
    mean_prefix_bfloat16: float
    token_s: float


def measure_agreement(checkpoint: Checkpoint, num_requests: int) -> Agreement:
    """Answer the same questions four ways; only one model is in memory at a time."""
    pictures = noise_pictures(num_requests)
    questions = [(picture, TASKS[n % len(TASKS)]) for n, picture in enumerate(pictures)]
    float32 = _answer(checkpoint, "float32", questions)
    bfloat16 = _answer(checkpoint, "bfloat16", questions)
    expected = _expected(checkpoint, questions)
    prefixes = [_common_prefix(*pair) for pair in zip(bfloat16, float32, strict=True)]
    return Agreement(
        share_equal=_share_equal(float32, expected),
        share_equal_bfloat16=_share_equal(bfloat16, float32),
        mean_prefix_bfloat16=sum(prefixes) / len(prefixes),
        token_s=_token_seconds(checkpoint, questions[0]),
    )


def _answer(
    checkpoint: Checkpoint, dtype: Literal["float32", "bfloat16"], questions: Sequence[Question]
) -> Answers:
    """By the runner, several rows of different lengths side by side."""
    settings = Settings(model=str(checkpoint.directory), dtype=dtype, slots=ROWS)
    runner = build_runner(settings, checkpoint, lambda _: nullcontext())
    clock = RunnerClock(runner, checkpoint.no_repeat_ngram_size)
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    answers: Answers = []
    for start in range(0, len(questions), ROWS):
        asked = questions[start : start + ROWS]
        prompts = [tokenizer.encode_prompt(task.prompt) for _, task in asked]
        answers += clock.run(prompts, [picture for picture, _ in asked], NEW_TOKENS).token_ids
    _forget()
    return answers


def _expected(checkpoint: Checkpoint, questions: Sequence[Question]) -> Answers:
    """By `generate`, each alone."""
    generation = TimedGeneration(checkpoint.directory, "float32", 1, _device())
    answers = [generation.generate(generation.encode(*each), NEW_TOKENS) for each in questions]
    _forget()
    return answers


def _token_seconds(checkpoint: Checkpoint, question: Question) -> float:
    generation = TimedGeneration(checkpoint.directory, "bfloat16", 1, _device())
    inputs = generation.encode(*question)
    generation.seconds([inputs], 2)  # warm-up
    seconds = generation.seconds_per_token([inputs], NEW_TOKENS)
    _forget()
    return seconds


def _share_equal(answers: Answers, expected: Answers) -> float:
    pairs = zip(answers, expected, strict=True)
    return sum(answer == other for answer, other in pairs) / len(answers)


def _common_prefix(answer: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(answer, other, strict=True))
    return next((place for place, (one, two) in pairs if one != two), len(answer))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _forget() -> None:
    """Give the device's memory back for what comes next."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

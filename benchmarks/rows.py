"""Runs sequences directly on the engine's runner, to time passes without queues and clients."""

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from itertools import count
from statistics import median
from time import perf_counter

import torch

from app.checkpoint.picture_size import PICTURE_BYTES
from app.engine.choices import ChosenToken
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, SamplingParameters

RunPass = Callable[[list[Sequence]], list[ChosenToken]]


@dataclass(frozen=True)
class Pass:
    """The results of rows that ran in one batch; times in seconds.

    Attributes:
        first_token: from the prompts to all first tokens, including pictures and prefixes.
        steps: time of each decode pass, which gives one or two tokens of every row.
        launches: the part of each step until the host could do other work; 0 on the CPU.
        token_ids: the new tokens of each row.
        num_invalid: tokens whose logits were not finite.
    """

    first_token: float
    steps: list[float]
    launches: list[float]
    token_ids: list[list[int]]
    num_invalid: int

    @property
    def seconds(self) -> float:
        """The time of the first tokens and of all steps."""
        return self.first_token + sum(self.steps)

    @property
    def step(self) -> float:
        """The median step."""
        return median(self.steps)


class RunnerClock:
    """Times the passes of a runner, including the device's work.

    Args:
        runner: must be ready to serve, with all slots free.
    """

    def __init__(self, runner: Runner, no_repeat_ngram_size: int) -> None:
        self._runner, self._ngram_size, self._keys = runner, no_repeat_ngram_size, count()

    def run(self, prompts: Rows[list[int]], pictures: Rows[bytes], num_new_tokens: int) -> Pass:
        """Generate tokens greedily for a batch of rows.

        Args:
            prompts: token ids of each row, including the picture's tokens.
            pictures: 224×224×3 bytes of each row; equal ones are encoded once.
            num_new_tokens: of each row, at least 1; rows continue after the end token.
        """
        sequences = [
            self._start(prompt, picture, num_new_tokens)
            for prompt, picture in zip(prompts, pictures, strict=True)
        ]
        try:
            first = self._timed(sequences, self._runner.prefill)
            steps = list(self._steps(sequences))
        finally:
            for sequence in sequences:
                self._runner.slots.free(sequence.slot or 0)
        return Pass(
            first_token=first.seconds,
            steps=[launch + rest.seconds for launch, rest in steps],
            launches=[launch for launch, _ in steps],
            token_ids=[sequence.new_token_ids for sequence in sequences],
            num_invalid=first.num_invalid + sum(rest.num_invalid for _, rest in steps),
        )

    def _start(self, prompt: list[int], picture: bytes, num_new_tokens: int) -> Sequence:
        digest = hashlib.sha256(picture).digest()
        sampling = SamplingParameters(num_new_tokens, self._ngram_size)
        request = Generate(0, next(self._keys), prompt, digest, sampling, deadline=math.inf)
        sequence = Sequence(b"benchmark", request, picture, arrived_at=0.0)
        sequence.slot = self._runner.slots.allocate()
        return sequence

    def _steps(self, sequences: list[Sequence]) -> Iterator[tuple[float, "_Timed"]]:
        """Run passes until every row has all its tokens; accepted drafts make some rows faster."""
        while running := [sequence for sequence in sequences if not sequence.is_finished]:
            yield self._step(running)

    def _step(self, sequences: list[Sequence]) -> tuple[float, "_Timed"]:
        """Return the time to launch one pass, and the results of the pass."""
        began = perf_counter()
        self._runner.launch(sequences)
        return perf_counter() - began, self._timed(sequences, self._runner.decode)

    def _timed(self, sequences: list[Sequence], run_pass: RunPass) -> "_Timed":
        began = perf_counter()
        chosen = run_pass(sequences)
        if self._runner.device.type == "cuda":
            # The host returns before the device has finished.
            torch.cuda.synchronize()
        seconds = perf_counter() - began
        for choice in chosen:
            # No token counts as the end, so that all rows keep the same length.
            choice.sequence.append(choice.token_id, lambda _: False)
        return _Timed(seconds, sum(not choice.is_valid for choice in chosen))


@dataclass(frozen=True)
class _Timed:
    seconds: float
    num_invalid: int


def noise_pictures(count: int, seed: int = 0) -> list[bytes]:
    """Return different pictures of noise, 224×224×3 bytes each."""
    rng = random.Random(seed)
    return [rng.randbytes(PICTURE_BYTES) for _ in range(count)]

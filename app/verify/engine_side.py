"""The child process that answers prompts with the engine's runner, alone and in one batch.

python -m app.verify.engine_side < JOB
"""

import contextlib
from collections.abc import Sequence as Rows
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from app.checkpoint.files import read_checkpoint
from app.engine.choices import ChosenToken
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.model.loading import Kosmos2Model
from app.settings import Settings
from app.telemetry.logs import configure_logs
from app.verify.jobs import Job, Output, Prompt, answer_jobs, read_job

BATCH_SIZE = 16
SLOT_TOKENS = 320
"""The longest prompt and answer of a recording need fewer tokens; 2048 would need more memory."""


class ObservedRunner(Runner):
    """A runner that keeps the logits of all tokens for the tokens that it chose last."""

    def __init__(self, model: Kosmos2Model, *options: Any, **named: Any) -> None:
        # The engine keeps the logits of the location tokens. Here, every token is one.
        every_token = range(model.decoder.config.vocab_size)
        super().__init__(replace(model, location_token_ids=every_token), *options, **named)

    def logits_of(self, choice: ChosenToken) -> Tensor:
        """Return the logits from which the last pass chose a token, (V,) float32."""
        return self._cells.logits[choice.number, choice.sequence.held_slot]

    def _locate(self, chosen: list[ChosenToken]) -> list[ChosenToken]:
        return chosen


class Observation:
    """Collects one answer: its tokens, the requested logits, and the gap of a different token."""

    def __init__(self, prompt: Prompt, sequence: Sequence) -> None:
        self.sequence, self._expected = sequence, prompt.expected_ids
        self._wanted = [tuple(wanted) for wanted in prompt.logits]
        self._logits: dict[tuple[int, ...], float] = {}
        self._tie: float | None = None
        self._is_other = False

    def read(self, token_id: int, logits: Tensor) -> None:
        """Read the next token, before it is appended to the sequence."""
        step = len(self.sequence.new_token_ids)
        for wanted in self._wanted:
            if wanted[0] == step:
                self._logits[wanted] = float(logits[wanted[1]])
        expected = None if self._expected is None else self._expected[step : step + 1]
        if expected and not self._is_other and token_id != expected[0]:
            self._tie = float(logits[token_id] - logits[expected[0]])
            self._is_other = True

    @property
    def output(self) -> Output:
        """The finished answer."""
        logits = tuple(self._logits.get(wanted, float("nan")) for wanted in self._wanted)
        return Output(tuple(self.sequence.new_token_ids), logits, self._tie)


def generate(runner: ObservedRunner, job: Job, keys: Rows[int]) -> list[Output]:
    """Answer the prompts with these indices in one batch."""
    observed = []
    for key in keys:
        request, pixels = job.generate_of(key)
        sequence = Sequence(b"verify", request, pixels, arrived_at=0.0)
        sequence.slot = runner.slots.allocate()
        observed.append(Observation(job.prompts[key], sequence))
    by_sequence = {one.sequence: one for one in observed}
    chosen = runner.prefill([one.sequence for one in observed])
    while chosen:
        for choice in chosen:
            by_sequence[choice.sequence].read(choice.token_id, runner.logits_of(choice))
            choice.sequence.append(choice.token_id, lambda i: i in runner.model.end_token_ids)
            if choice.sequence.is_finished:
                runner.slots.free(choice.sequence.held_slot)
        chosen = runner.decode([s for s in by_sequence if not s.is_finished])
    return [one.output for one in observed]


def answer(content: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of a job: `alone` and `batch`."""
    job = read_job(content)
    settings = Settings(
        model=str(job.directory),
        device=job.device,
        dtype=job.dtype,
        slots=BATCH_SIZE,
        max_sequence_length=SLOT_TOKENS,
        picture_cache_bytes=0,
    )
    configure_logs("error", "verify", "text")
    checkpoint = read_checkpoint(job.directory, job.directory.name, None)
    runner = build_runner(settings, checkpoint, lambda _: contextlib.nullcontext(), ObservedRunner)
    assert isinstance(runner, ObservedRunner)  # noqa: S101 - for the type checker
    keys = range(len(job.prompts))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        alone = [generate(runner, job, [key])[0] for key in progress.track(keys)]
    batch = generate(runner, job, [key % len(keys) for key in range(BATCH_SIZE)])
    return {"alone": [asdict(o) for o in alone], "batch": [asdict(o) for o in batch]}


if __name__ == "__main__":
    answer_jobs(answer)

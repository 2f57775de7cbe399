"""The passes that run before an engine reports that it is ready."""

from contextlib import nullcontext

import pytest

from app.checkpoint.files import open_checkpoint
from app.engine.choices import ChosenToken
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.engine.sizing import CPU_PREFILL_TOKENS
from app.engine.warm_up import CPU_LAYERS, longest_over_warm_up, warm_up
from app.settings import Settings

pytestmark = pytest.mark.slow  # starts an engine several times


class RecordingRunner(Runner):
    """Records the length of every prompt, per pass."""

    prompts: tuple[tuple[int, ...], ...] = ()
    num_sampled = 0

    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        lengths = tuple(len(sequence.request.token_ids) for sequence in sequences)
        self.prompts = (*self.prompts, lengths)
        self.num_sampled += sum(s.request.sampling.temperature > 0 for s in sequences)
        return super().prefill(sequences)


def build(slots: int) -> RecordingRunner:
    settings = Settings(device="cpu", slots=slots)
    checkpoint = open_checkpoint(settings.model)
    runner = build_runner(settings, checkpoint, lambda _: nullcontext(), RecordingRunner)
    assert isinstance(runner, RecordingRunner)
    return runner


@pytest.mark.parametrize(("slots", "size"), [(1, 1), (3, 3), (40, 8)])
def test_on_the_cpu_one_batch_is_warmed_up(slots: int, size: int) -> None:
    """It has as many prompts as a step may prefill, and about 32 tokens after their prefixes."""
    runner = build(slots)
    warm_up(runner, CPU_PREFILL_TOKENS, last_token_id=2)
    (lengths,) = runner.prompts
    assert len(lengths) == size
    assert sum(lengths) <= CPU_PREFILL_TOKENS
    assert 24 < sum(lengths) - size * len(runner.model.prefix_token_ids) <= 32
    assert runner.num_sampled == size // 2
    assert runner.pictures.num_bytes == 0
    assert runner.slots.num_used == 0


def test_the_first_layers_alone_are_warmed_up() -> None:
    """So what a full pass takes follows from the layers that it has and the warm-up has not."""
    runner = build(1)
    assert runner.prompts == ()
    longest = longest_over_warm_up(runner, CPU_PREFILL_TOKENS)
    assert longest["vision"] == len(runner.model.vision.tower.layers) / CPU_LAYERS > 1
    assert longest["decode"] == len(runner.model.decoder.layers) / CPU_LAYERS > 1
    longest_prompt = runner.slots.max_length - len(runner.model.prefix_token_ids) - 3
    assert longest["prefill"] == longest["decode"] * longest_prompt / 32

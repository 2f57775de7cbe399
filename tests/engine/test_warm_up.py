"""The passes that run before an engine reports that it is ready."""

from contextlib import nullcontext

import pytest

from app.checkpoint.files import open_checkpoint
from app.engine.process import build_runner
from app.engine.runner import ChosenToken, Runner
from app.engine.sequence import Sequence
from app.engine.sizing import CPU_PREFILL_TOKENS
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


@pytest.mark.parametrize(("slots", "sizes"), [(1, [1]), (3, [1, 3]), (40, [1, 8])])
def test_on_the_cpu_each_batch_size_is_warmed_up_once(slots: int, sizes: list[int]) -> None:
    """The first prompt fills a slot; then as many short ones as a step may prefill."""
    settings = Settings(device="cpu", slots=slots)
    checkpoint = open_checkpoint(settings.model)
    runner = build_runner(settings, checkpoint, lambda _: nullcontext(), RecordingRunner)
    assert isinstance(runner, RecordingRunner)
    assert [len(lengths) for lengths in runner.prompts] == sizes
    (longest,), *short = runner.prompts
    assert longest == settings.max_sequence_length - 3  # new tokens
    assert all(sum(lengths) <= CPU_PREFILL_TOKENS for lengths in short)
    assert runner.num_sampled == sizes[-1] // 2
    assert runner.pictures.num_bytes == 0

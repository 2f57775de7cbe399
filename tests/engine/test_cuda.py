"""What only a CUDA device can show: recordings, 16 bits, memory. Deselected where there is none."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from app.checkpoint import open_checkpoint
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sizing import measure_free_bytes, plan_memory
from app.settings import EMBEDDED_CHECKPOINT, Settings
from benchmarks.device_memory import and_free
from benchmarks.rows import RunnerClock, noise_pictures
from harness.checkpoints import tiny_config, write_random_checkpoint

pytestmark = pytest.mark.cuda

NUM_ROWS, NUM_TOKENS, BAN = 5, 24, 3
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)


@pytest.fixture
def settings(checkpoint: Path) -> Settings:
    return Settings(model=str(checkpoint), device="cuda", slots=8, max_sequence_length=256)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Each test has the device's memory for itself."""
    yield
    and_free(lambda: None)


def build(settings: Settings, **changes: object) -> Runner:
    changed = Settings(**{**settings.model_dump(), **changes})
    return build_runner(changed, open_checkpoint(changed.model), lambda _: nullcontext())


def answers(runner: Runner) -> list[list[int]]:
    prompts = [
        [*runner.model.prefix_token_ids, *range(9, 13 + number)] for number in range(NUM_ROWS)
    ]
    return RunnerClock(runner, BAN).run(prompts, noise_pictures(NUM_ROWS), NUM_TOKENS).token_ids


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_step_and_its_recording_are_equal_bit_for_bit(settings: Settings, dtype: str) -> None:
    """The same kernels on the same memory."""
    recorded = build(settings, dtype=dtype)
    assert recorded.num_recorded == recorded.num_recordable > 0
    assert answers(recorded) == answers(build(settings, dtype=dtype, recordings=False))


def test_answers_in_float32_are_those_of_the_cpu(settings: Settings) -> None:
    assert answers(build(settings, dtype="float32")) == answers(build(settings, device="cpu"))


def test_answers_in_float16_are_nearly_those_in_float32(settings: Settings) -> None:
    """Rounding moves a few choices; an overflow or a wrong kernel would move them all."""
    exact, half = (answers(build(settings, dtype=dtype)) for dtype in ("float32", "float16"))
    firsts = [one[0] == other[0] for one, other in zip(exact, half, strict=True)]
    assert sum(firsts) >= NUM_ROWS - 1


def test_an_engine_takes_no_more_memory_than_it_plans(settings: Settings) -> None:
    """The plan's share for recordings and sampling is an estimate."""
    before = measure_free_bytes(CUDA)
    runner = build(settings)
    answers(runner)
    checkpoint = open_checkpoint(settings.model)
    planned = plan_memory(settings, checkpoint, CUDA, runner.dtype, before)
    assert before - measure_free_bytes(CUDA) <= planned.total_bytes


def test_numbers_that_are_not_finite_do_not_outlive_their_row(settings: Settings) -> None:
    """Masked NaN is NaN also in the kernels of a device."""
    runner = build(settings)
    before = answers(runner)
    for layer in runner.slots.layers:
        layer[:, 0] = math.nan
    runner.slots.clear(0)
    assert answers(runner) == before

"""Recordings, 16-bit dtypes and memory on a CUDA device; deselected on machines without one."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from app.checkpoint.files import open_checkpoint
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sizing import measure_free_bytes, plan_memory
from app.settings import EMBEDDED_CHECKPOINT, Settings
from benchmarks.device_memory import and_free
from benchmarks.rows import RunnerClock, noise_pictures
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.drafts import AnswerDrafts, no_draft

pytestmark = pytest.mark.cuda

NUM_ROWS, NUM_TOKENS, NGRAM_SIZE = 5, 24, 3
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)


@pytest.fixture
def settings(checkpoint: Path) -> Settings:
    return Settings(model=str(checkpoint), device="cuda", slots=8, max_sequence_length=256)


@pytest.fixture(autouse=True)
def free_device_memory() -> Iterator[None]:
    """Free the device's memory after each test."""
    yield
    and_free(lambda: None)


def build(settings: Settings, **changes: object) -> Runner:
    changed = Settings(**{**settings.model_dump(), **changes})
    return build_runner(changed, open_checkpoint(changed.model), lambda _: nullcontext())


def prompts_of(runner: Runner) -> list[list[int]]:
    return [[*runner.model.prefix_token_ids, *range(9, 13 + number)] for number in range(NUM_ROWS)]


def answers(runner: Runner) -> list[list[int]]:
    clock = RunnerClock(runner, NGRAM_SIZE)
    return clock.run(prompts_of(runner), noise_pictures(NUM_ROWS), NUM_TOKENS).token_ids


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_step_and_its_recording_return_identical_answers(settings: Settings, dtype: str) -> None:
    """Both run the same kernels on the same memory."""
    recorded = build(settings, dtype=dtype)
    assert recorded.num_recorded == recorded.num_recordable > 0
    assert answers(recorded) == answers(build(settings, dtype=dtype, recordings=False))


def test_answers_with_drafts_equal_those_without(settings: Settings) -> None:
    """Recorded passes accept right drafts and reject wrong ones."""
    runner = build(settings, dtype="float32")
    prompts, pictures = prompts_of(runner), noise_pictures(NUM_ROWS)
    runner.draft_next = no_draft
    undrafted = answers(runner)
    drafts = AnswerDrafts(wrong=5)
    drafts.learn(zip(prompts, undrafted, strict=True))
    runner.draft_next = drafts
    before = runner.counts
    assert answers(runner) == undrafted
    for prompt, picture, expected in zip(prompts, pictures, undrafted, strict=True):
        alone = RunnerClock(runner, NGRAM_SIZE).run([prompt], [picture], NUM_TOKENS)
        assert alone.token_ids == [expected]
    num_accepted = runner.counts.accepted - before.accepted
    assert NUM_ROWS < num_accepted < runner.counts.drafted - before.drafted


def test_answers_in_float32_equal_those_of_the_cpu(settings: Settings) -> None:
    assert answers(build(settings, dtype="float32")) == answers(build(settings, device="cpu"))


def test_answers_in_float16_begin_like_those_in_float32(settings: Settings) -> None:
    """Rounding changes a few tokens; an overflow or a wrong kernel would change all of them."""
    exact, half = (answers(build(settings, dtype=dtype)) for dtype in ("float32", "float16"))
    firsts = [one[0] == other[0] for one, other in zip(exact, half, strict=True)]
    assert sum(firsts) >= NUM_ROWS - 1


def test_an_engine_uses_no_more_memory_than_planned(settings: Settings) -> None:
    """The plan only estimates the memory of recordings and sampling."""
    before = measure_free_bytes(CUDA)
    runner = build(settings)
    answers(runner)
    checkpoint = open_checkpoint(settings.model)
    planned = plan_memory(settings, checkpoint, CUDA, runner.dtype, before)
    assert before - measure_free_bytes(CUDA) <= planned.total_bytes


def test_non_finite_numbers_of_a_row_do_not_affect_later_rows(settings: Settings) -> None:
    """A masked NaN remains NaN in the kernels of a device too."""
    runner = build(settings)
    before = answers(runner)
    for layer in runner.slots.layers:
        layer[:, 0] = math.nan
    runner.slots.clear(0)
    assert answers(runner) == before

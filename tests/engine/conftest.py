"""Runners with random weights, as on a CPU and as on CUDA, and the engine's loop around them."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.checkpoint.files import open_checkpoint
from app.engine.phases import PhaseClock
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.ipc.shared_state import SharedState
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.telemetry.metrics import EngineMetrics
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.drafts import wrong_draft
from harness.engine_rig import (
    NUM_SLOTS,
    EngineRig,
    ManualClock,
    UnreliableRunner,
    build_unreliable_runner,
    open_rig,
    with_recorded_passes,
)
from harness.recordings import record_operators


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, for which every token is about equally probable."""
    target = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return write_random_checkpoint(target, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)


@pytest.fixture(scope="module")
def exact(directory: Path) -> Runner:
    """A runner as on a CPU."""
    settings = Settings(model=str(directory), slots=8, max_sequence_length=160)
    return build_runner(settings, open_checkpoint(settings.model), lambda _: nullcontext())


@pytest.fixture(scope="module")
def recorded(exact: Runner) -> Runner:
    """A runner whose passes are rounded, recorded and launched early, as on CUDA."""
    runner = Runner(
        exact.model,
        5,
        2**20,
        lambda _: nullcontext(),
        is_rounded=True,
        in_background=False,
        max_pictures=4,
        draft_next=exact.draft_next,
    )
    runner.record_passes(record_operators)
    return runner


@pytest.fixture(
    scope="module",
    params=["as on a CPU", pytest.param("as on CUDA", marks=pytest.mark.slow)],
)
def runner(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> UnreliableRunner:
    """A runner as on a CPU; and one with recorded passes that are launched early, as on CUDA."""
    folder = tmp_path_factory.mktemp("runner")
    phases = PhaseClock(
        SharedState(folder / "state"), EngineMetrics(CollectorRegistry()), ManualClock()
    )
    exact = build_unreliable_runner(folder / "checkpoint", phases)
    return exact if request.param == "as on a CPU" else with_recorded_passes(exact, phases)


@pytest.fixture
def rig(runner: UnreliableRunner, tmp_path: Path) -> Iterator[EngineRig]:
    runner.poisoned_keys, runner.max_batch_size = frozenset(), NUM_SLOTS
    runner.fails_at_launch = False
    # Passes reject drafts in every test of the loop; a test with right drafts passes its own.
    runner.draft_next = wrong_draft
    with open_rig(runner, tmp_path) as opened:
        yield opened

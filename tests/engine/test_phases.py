"""How long a phase may take before it counts as a hang."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.engine.phases import ALLOWANCE_PER_WARM_UP, MIN_ALLOWANCE_S, PhaseClock
from app.ipc.shared_state import SharedState
from app.telemetry.metrics import EngineMetrics
from harness.engine_rig import ManualClock


@pytest.mark.parametrize(
    ("phase", "warm_up_s", "allowance_s"),
    [
        ("prefill", 3, 10 * 3 * ALLOWANCE_PER_WARM_UP),
        ("decode", 3, 3 * ALLOWANCE_PER_WARM_UP),
        ("prefill", 0.01, MIN_ALLOWANCE_S),
    ],
)
def test_only_a_phase_with_longer_passes_than_in_the_warm_up_may_take_longer(
    phase: str, warm_up_s: float, allowance_s: float, tmp_path: Path
) -> None:
    """A prompt as long as a slot would otherwise count as a hang at the published size."""
    state, clock = SharedState(tmp_path / "state"), ManualClock()
    phases = PhaseClock(state, EngineMetrics(CollectorRegistry()), clock)
    with phases(phase):
        clock.now += warm_up_s
    phases.end_warm_up(prefill=10)
    with phases(phase):
        began = clock.now
        assert not state.is_stuck(began + allowance_s - 0.1)
        assert state.is_stuck(began + allowance_s + 0.1)


def test_a_wait_for_work_does_not_count_as_a_hang(tmp_path: Path) -> None:
    """Even if the processor is busy when it ends."""
    state, clock = SharedState(tmp_path / "state"), ManualClock()
    phases = PhaseClock(state, EngineMetrics(CollectorRegistry()), clock)
    phases.rest()
    assert phases.max_rest_ms > 0
    assert not state.is_stuck(clock.now + 2 * phases.max_rest_ms / 1000)

"""The phases of a step: each stamped before it begins, so that a hang can be told, and timed."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from app.ipc.shared_state import SharedState
from app.telemetry.metrics import EngineMetrics

MIN_ALLOWANCE_S = 30.0
MAX_REST_MS = 10_000
ALLOWANCE_PER_WARM_UP = 20.0
Clock = Callable[[], float]
PhaseTimer = Callable[[str], AbstractContextManager[None]]


class PhaseClock:
    """Stamps the shared state before each phase, and times it.

    Args:
        state: where the stamp goes.
        metrics: where the time goes.
        clock: monotonic, seconds.
    """

    def __init__(self, state: SharedState, metrics: EngineMetrics, clock: Clock) -> None:
        self._state, self._metrics, self._clock = state, metrics, clock
        self._slowest_warm_up: dict[str, float] = defaultdict(float)
        self.is_warming_up = True

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Around one phase: `vision`, `prefill` or `decode`."""
        began = self._clock()
        self._state.stamp(began, self._allowance(phase))
        yield
        took = self._clock() - began
        if self.is_warming_up:
            self._slowest_warm_up[phase] = max(self._slowest_warm_up[phase], took)
        else:
            self._metrics.engine_step_seconds.labels(phase).observe(took)

    def rest(self) -> None:
        """Before waiting for work, no longer than `MAX_REST_MS`: else it would look like a hang."""
        self._state.stamp(self._clock(), MIN_ALLOWANCE_S)

    def _allowance(self, phase: str) -> float:
        return max(MIN_ALLOWANCE_S, ALLOWANCE_PER_WARM_UP * self._slowest_warm_up[phase])

"""The phases of a step: a stamp before each one reveals a hang, and a metric records its time."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from app.ipc.shared_state import SharedState
from app.telemetry.metrics import EngineMetrics

MIN_ALLOWANCE_S = 30.0
ALLOWANCE_PER_WARM_UP = 20.0
Clock = Callable[[], float]
PhaseTimer = Callable[[str], AbstractContextManager[None]]


class PhaseClock:
    """Stamps the shared state before each phase, and measures the phase.

    Args:
        clock: monotonic clock in seconds.
        min_allowance_s: shortest duration that counts as a hang, however short the phase was
            during warm-up.
    """

    def __init__(
        self,
        state: SharedState,
        metrics: EngineMetrics,
        clock: Clock,
        min_allowance_s: float = MIN_ALLOWANCE_S,
    ) -> None:
        self._state, self._metrics, self._clock = state, metrics, clock
        self._min_allowance_s = min_allowance_s
        self._slowest_warm_up: dict[str, float] = defaultdict(float)
        self._is_warming_up = True

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Enclose one phase: `vision`, `prefill` or `decode`."""
        began = self._clock()
        self._state.stamp(began, self._allowance(phase))
        yield
        took = self._clock() - began
        if self._is_warming_up:
            self._slowest_warm_up[phase] = max(self._slowest_warm_up[phase], took)
        else:
            self._metrics.engine_step_seconds.labels(phase).observe(took)

    def end_warm_up(self, **longest: float) -> None:
        """Measure for the metrics from now on, and no longer for allowances.

        Args:
            longest: work of a phase's longest pass, relative to the passes of the warm-up; 1 for
                phases that are not named.
        """
        self._is_warming_up = False
        for phase, factor in longest.items():
            self._slowest_warm_up[phase] *= factor

    @property
    def max_rest_ms(self) -> int:
        """Longest wait for work after `rest`; a longer one could count as a hang."""
        return int(1000 * self._min_allowance_s / 3)

    def rest(self) -> None:
        """Stamp the state before a wait for work of at most `max_rest_ms`."""
        self._state.stamp(self._clock(), self._min_allowance_s)

    def _allowance(self, phase: str) -> float:
        return max(self._min_allowance_s, ALLOWANCE_PER_WARM_UP * self._slowest_warm_up[phase])

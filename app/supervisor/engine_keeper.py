"""Keeps an engine running: starts it, watches it, kills it if it hangs, starts the next one."""

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic

from app.ipc.child_process import ChildProcess
from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import SharedState
from app.ipc.supervisor_messages import EngineReady, SupervisorMessage
from app.processors import count_processors
from app.telemetry.logs import get_logger
from app.telemetry.metrics import ServiceMetrics, drop_gauges_of

ENGINE_MODULE = "app.engine.process"
FIRST_BACK_OFF_S, MAX_BACK_OFF_S = 0.5, 30.0
WATCH_PERIOD_S = 1.0
EXIT_KILLED = 1


class EngineKeeper:
    """Runs one engine after another, with `run`.

    Args:
        max_restarts: number of failed restarts in a row before giving up.
        send: sends a message to every HTTP process.
        module: module of the engine process; tests pass one with faults.
    """

    def __init__(
        self,
        run_directory: RunDirectory,
        metrics: ServiceMetrics,
        max_restarts: int,
        send: Callable[[SupervisorMessage], None],
        module: str = ENGINE_MODULE,
    ) -> None:
        self._run_directory, self._metrics = run_directory, metrics
        self._max_restarts, self._send, self._module = max_restarts, send, module
        self._state: SharedState = run_directory.open_state()
        self._child: ChildProcess | None = None
        self._stop_requested = asyncio.Event()
        self._suspects: tuple[int, ...] = ()
        self._num_failures = 0
        self._load_s = 0.0

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Keep an engine running until a stop is requested or too many starts in a row have failed.

        Args:
            on_ready: called once, when the first engine is ready.

        Returns:
            0 after a requested stop, otherwise the exit code of the last engine.
        """
        while not self._stop_requested.is_set():
            exit_code = await self._run_one_engine(on_ready)
            if self._stop_requested.is_set():
                break
            get_logger().error("engine ended", epoch=self._state.epoch, exit_code=exit_code)
            # An engine that never became ready would fail again in the same way.
            if not self._load_s or self._num_failures > self._max_restarts:
                return exit_code if exit_code > 0 else EXIT_KILLED
            self._metrics.engine_restarts_total.inc()
            await self._back_off()
        return 0

    def request_stop(self) -> None:
        """Stop the engine and start no other one; kill an engine that is still loading."""
        self._stop_requested.set()
        if self._child is not None:
            stop = self._child.request_stop if self._state.is_engine_ready else self._child.kill
            stop()

    def kill(self) -> None:
        """Kill the engine and start no other one."""
        self._stop_requested.set()
        if self._child is not None:
            self._child.kill()

    async def _run_one_engine(self, on_ready: Callable[[], None]) -> int:
        """Start an engine, wait until it ends, and return its exit code."""
        epoch, began = self._state.begin_epoch(), monotonic()
        self._child = await start_engine(self._run_directory, self._module)
        if self._stop_requested.is_set():  # during the start
            self._child.kill()
        if await self._child.wait_until_ready():
            is_first, self._num_failures = not self._load_s, 0
            self._load_s = monotonic() - began
            self._send(EngineReady(epoch, self._suspects))
            if is_first:
                on_ready()
        else:
            self._num_failures += 1
        exit_code = await self._watch(self._child)
        drop_gauges_of(self._child.pid)
        return exit_code

    async def _watch(self, child: ChildProcess) -> int:
        """Wait until an engine ends, kill it if a step hangs, and return its exit code."""
        # A hang produces no event to wait for, so the stamp of the engine is polled.
        ended = asyncio.ensure_future(child.wait())
        while not ended.done():
            await asyncio.wait({ended}, timeout=WATCH_PERIOD_S)
            if self._state.is_engine_ready and self._state.is_stuck(monotonic()):
                get_logger().error("engine stuck", epoch=self._state.epoch)
                child.kill()
                await ended
        return ended.result()

    async def _back_off(self) -> None:
        """Publish when the next engine is expected, and wait longer after each failure in a row."""
        if self._state.is_engine_ready:
            self._suspects = tuple(self._state.running)
        delay_s = back_off_s(self._num_failures)
        due_at_s = monotonic() + delay_s + self._load_s
        self._state.mark_engine_stopped(due_at_s, is_returning=self._num_failures == 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_requested.wait(), delay_s)


def back_off_s(num_failures: int) -> float:
    """Return the seconds to wait before a restart, which grow with each failure in a row.

    >>> [back_off_s(num_failures) for num_failures in (0, 1, 2, 9)]
    [0.0, 1.0, 2.0, 30.0]
    """
    return min(MAX_BACK_OFF_S, FIRST_BACK_OFF_S * 2**num_failures) if num_failures else 0.0


async def start_engine(run_directory: RunDirectory, module: str = ENGINE_MODULE) -> ChildProcess:
    """Start an engine process for the current epoch."""
    environment = engine_environment()
    return await ChildProcess.start(module, (str(run_directory.path),), environment=environment)


def engine_environment() -> dict[str, str]:
    """Return the variables that libraries of an engine read when they are imported."""
    return {
        # numpy starts its threads at its import, before the engine chooses a number for torch.
        "OPENBLAS_NUM_THREADS": str(count_processors().usable),
        # Weights and temporary values of a large model then cause few page faults.
        "THP_MEM_ALLOC_ENABLE": "1",
    }

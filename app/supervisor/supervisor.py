"""Starts the engine and the HTTP processes, watches them, restarts them, and drains on SIGTERM."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from importlib.metadata import version

from app.checkpoint import Checkpoint
from app.ipc.child_process import ChildProcess
from app.ipc.run_directory import RunDirectory
from app.ipc.supervisor_messages import Drain, SupervisorMessage
from app.settings import Settings
from app.supervisor.engine_keeper import (
    ENGINE_MODULE,
    EXIT_KILLED,
    EngineKeeper,
    back_off_s,
)
from app.telemetry.logs import get_logger
from app.telemetry.metrics import ServiceMetrics, drop_gauges_of

_PARTING_S = 5.0


class Supervisor:
    """Runs the whole service; `run` is its life.

    Args:
        settings: of the service.
        checkpoint: what is served.
        run_directory: what the processes share.
        listener: where the HTTP processes listen.
        engine_module: what an engine process runs; tests bring one with faults.
        ops_listener: for health and metrics alone; none: they are where all else is.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: Checkpoint,
        run_directory: RunDirectory,
        listener: socket.socket,
        engine_module: str = ENGINE_MODULE,
        ops_listener: socket.socket | None = None,
    ) -> None:
        self._settings, self._run_directory = settings, run_directory
        self._listeners = [listener] if ops_listener is None else [listener, ops_listener]
        self._state = run_directory.open_state()
        self._metrics = ServiceMetrics()
        self._metrics.build_info.labels(
            version("kosmos2-server"), checkpoint.name, checkpoint.revision or ""
        ).set(1)
        self._engine = EngineKeeper(
            run_directory, self._metrics, settings.max_engine_restarts, self._send, engine_module
        )
        self._workers: dict[int, ChildProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._exit_code = 0
        self._ended = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until a signal, or until the engine cannot be kept alive.

        Args:
            on_ready: called once, when requests are served.

        Returns:
            The exit code of the service.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, self._settings.drain_delay_s)
        loop.add_signal_handler(signal.SIGINT, self._stop, 0.0)
        self._keepers = [asyncio.create_task(self._keep_engine(on_ready))]
        for worker in range(self._settings.http_workers):
            self._keepers.append(asyncio.create_task(self._keep_worker(worker)))
        await self._ended.wait()
        self._engine.kill()
        for child in self._workers.values():
            child.kill()
        await asyncio.gather(*self._keepers)
        return self._exit_code

    async def _keep_engine(self, on_ready: Callable[[], None]) -> None:
        """Keep an engine running; when that cannot be done, end, but answer all requests first."""
        exit_code = await self._engine.run(on_ready)
        is_draining, self._is_stopping = self._is_stopping, True
        for child in self._workers.values():
            child.request_stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._workers_end(), _PARTING_S)
        if not is_draining:
            self._end(exit_code)

    async def _keep_worker(self, worker: int) -> None:
        """Keep an HTTP process running."""
        num_failures = 0
        while not self._is_stopping:
            descriptors = [listener.fileno() for listener in self._listeners]
            arguments = (str(self._run_directory.path), str(worker), *map(str, descriptors))
            child = await ChildProcess.start("app.http.process", arguments, descriptors)
            self._workers[worker] = child
            num_failures = 0 if await child.wait_until_ready() else num_failures + 1
            self._count_workers()
            exit_code = await child.wait()
            self._state.forget_worker(worker)
            drop_gauges_of(child.pid)
            self._count_workers()
            if not self._is_stopping:
                get_logger().error("HTTP process ended", worker=worker, exit_code=exit_code)
                await self._back_off(num_failures)

    def _count_workers(self) -> None:
        self._metrics.http_workers.set(sum(c.is_running for c in self._workers.values()))

    async def _back_off(self, num_failures: int) -> None:
        """Wait longer after each failure in a row, but no longer than the service lives."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), back_off_s(num_failures))

    def _stop(self, delay_s: float) -> None:
        """On the first signal drain, on the second end at once."""
        if self._is_stopping:
            self._end(EXIT_KILLED)
            return
        self._is_stopping = True
        self._state.mark_draining()
        self._draining = asyncio.create_task(self._drain(delay_s))

    async def _drain(self, delay_s: float) -> None:
        """Serve on until load balancers have noticed, then finish what runs, then end."""
        get_logger().info("draining", delay_s=delay_s)
        await asyncio.sleep(delay_s)
        for child in self._workers.values():
            child.send(Drain())
        await self._workers_end()
        self._engine.request_stop()
        await asyncio.wait(self._keepers)
        self._end(0)

    async def _workers_end(self) -> None:
        await asyncio.gather(*(child.wait() for child in self._workers.values()))

    def _send(self, message: SupervisorMessage) -> None:
        for child in self._workers.values():
            child.send(message)

    def _end(self, exit_code: int) -> None:
        self._is_stopping = True
        self._exit_code = exit_code
        self._ended.set()

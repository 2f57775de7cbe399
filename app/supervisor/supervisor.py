"""Starts the engine and the HTTP processes, watches them, restarts them, and drains on signals."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version

from app.checkpoint.files import Checkpoint
from app.ipc.child_process import SINGLE_THREADED, ChildProcess
from app.ipc.run_directory import RunDirectory
from app.ipc.supervisor_messages import Drain, SupervisorMessage
from app.processors import count_processors
from app.settings import Settings
from app.supervisor.engine_keeper import (
    ENGINE_MODULE,
    EXIT_KILLED,
    EngineKeeper,
    back_off_s,
)
from app.telemetry.logs import get_logger
from app.telemetry.metrics import ServiceMetrics, drop_gauges_of

# For the HTTP processes to answer their requests with an error before they are killed.
_LAST_ANSWERS_S = 5.0


class Supervisor:
    """Runs the whole service, with `run`.

    Args:
        listener: socket on which the HTTP processes accept connections; closed by a drain.
        engine_module: module of the engine process; tests pass one with faults.
        ops_listener: socket for health and metrics alone; `None` serves them at `listener`.
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
        self._metrics.http_workers_configured.set(settings.http_workers)
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
        """Serve until a signal arrives or the engine cannot be kept running.

        Args:
            on_ready: called once, when the service accepts requests.

        Returns:
            The exit code of the service.

        Raises:
            OSError: a process cannot be started, for want of memory or descriptors.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, self._settings.drain_delay_s)
        loop.add_signal_handler(signal.SIGINT, self._stop, 0.0)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as by `nohup`
            loop.add_signal_handler(signal.SIGHUP, self._stop, 0.0)
        processors = count_processors()
        get_logger().info("processors counted", **asdict(processors), usable=processors.usable)
        self._keepers = [asyncio.create_task(self._keep_engine(on_ready))]
        for worker in range(self._settings.http_workers):
            self._keepers.append(asyncio.create_task(self._keep_worker(worker)))
        for keeper in self._keepers:
            keeper.add_done_callback(self._end_if_failed)
        await self._ended.wait()
        self._engine.kill()
        for child in self._workers.values():
            child.kill()
        await asyncio.wait(self._keepers)
        await asyncio.gather(*self._keepers)  # raises the error of a keeper that failed
        return self._exit_code

    async def _keep_engine(self, on_ready: Callable[[], None]) -> None:
        """Keep an engine running; if that fails, let the HTTP processes answer, then end."""
        exit_code = await self._engine.run(on_ready)
        is_draining, self._is_stopping = self._is_stopping, True
        self._stop_listening()
        for child in self._workers.values():
            child.request_stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._workers_end(), _LAST_ANSWERS_S)
        if not is_draining:
            self._end(exit_code)

    async def _keep_worker(self, worker: int) -> None:
        """Keep an HTTP process running until the service stops, or end the service if it cannot."""
        num_failures, was_ready = 0, False
        while not self._is_stopping:
            descriptors = [listener.fileno() for listener in self._listeners]
            arguments = (str(self._run_directory.path), str(worker), *map(str, descriptors))
            child = await ChildProcess.start(
                "app.http.process", arguments, descriptors, SINGLE_THREADED
            )
            self._workers[worker] = child
            if await child.wait_until_ready():
                num_failures, was_ready = 0, True
            else:
                num_failures += 1
            self._count_workers()
            exit_code = await child.wait()
            self._state.release_permits_of(worker)
            drop_gauges_of(child.pid)
            self._count_workers()
            if self._is_stopping:
                return
            get_logger().error("HTTP process ended", worker=worker, exit_code=exit_code)
            # A process that exits by itself before it was ever ready would fail again in the same
            # way. One that a signal killed is started again.
            if exit_code > 0 and not was_ready:
                self._end(exit_code)
                return
            await self._back_off(num_failures)

    def _count_workers(self) -> None:
        self._metrics.http_workers.set(sum(c.is_running for c in self._workers.values()))

    async def _back_off(self, num_failures: int) -> None:
        """Wait before a restart, longer after each failure; return early if the service ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), back_off_s(num_failures))

    def _stop(self, delay_s: float) -> None:
        """Drain on the first signal, end at once on the second."""
        if self._is_stopping:
            self._end(EXIT_KILLED)
            return
        self._is_stopping = True
        self._state.mark_draining()
        # Kept in an attribute, because the event loop only has a weak reference to a task.
        self._draining = asyncio.create_task(self._drain(delay_s))

    async def _drain(self, delay_s: float) -> None:
        """Keep serving until load balancers have noticed, finish running requests, then end."""
        get_logger().info("draining", delay_s=delay_s)
        await asyncio.sleep(delay_s)
        self._stop_listening()
        for child in self._workers.values():
            child.send(Drain())
        await self._workers_end()
        self._engine.request_stop()
        await asyncio.wait(self._keepers)
        self._end(0)

    def _stop_listening(self) -> None:
        """Close this process's listeners, so that connections are refused once all workers stop.

        While any process holds a listener, the system accepts connections that no process serves.
        """
        for listener in self._listeners:
            listener.close()

    def _end_if_failed(self, keeper: asyncio.Task[None]) -> None:
        """End the service if a process cannot be started, for which `run` raises the error."""
        if not keeper.cancelled() and keeper.exception() is not None:
            self._end(EXIT_KILLED)

    async def _workers_end(self) -> None:
        await asyncio.gather(*(child.wait() for child in self._workers.values()))

    def _send(self, message: SupervisorMessage) -> None:
        for child in self._workers.values():
            child.send(message)

    def _end(self, exit_code: int) -> None:
        self._is_stopping = True
        self._exit_code = exit_code
        self._ended.set()

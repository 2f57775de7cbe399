"""The keeper of engines, with engines that die."""

import asyncio
import os
from functools import partial

from prometheus_client import CollectorRegistry

from app.checkpoint.files import open_checkpoint
from app.ipc.run_directory import RunDirectory
from app.ipc.supervisor_messages import EngineReady, SupervisorMessage
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.supervisor.engine_keeper import EngineKeeper
from app.telemetry.metrics import ServiceMetrics
from harness import dying_engine, loading_engine
from harness.processes import find_process
from harness.waiting import eventually


def test_suspects_outlive_an_engine_that_dies_during_its_start() -> None:
    """Otherwise all would run together again, although one of them has killed an engine."""
    settings = Settings(model=str(EMBEDDED_CHECKPOINT))
    messages: list[SupervisorMessage] = []

    def send(message: SupervisorMessage) -> None:
        messages.append(message)
        if len(messages) == 2:
            keeper.request_stop()

    with RunDirectory.create(settings, open_checkpoint(settings.model)) as run_directory:
        metrics = ServiceMetrics(CollectorRegistry())
        keeper = EngineKeeper(run_directory, metrics, 1, send, dying_engine.MODULE)
        exit_code = asyncio.run(keeper.run(lambda: None))
    assert exit_code == 0
    assert messages == [EngineReady(1), EngineReady(3, tuple(dying_engine.RUNNING))]


def test_a_stop_does_not_wait_for_an_engine_that_is_loading() -> None:
    settings = Settings(model=str(EMBEDDED_CHECKPOINT))

    async def stop_while_loading(keeper: EngineKeeper) -> int:
        running = asyncio.create_task(keeper.run(lambda: None))
        is_loading = partial(find_process, os.getpid(), loading_engine.MODULE)
        assert await asyncio.to_thread(eventually, lambda: is_loading() is not None)
        keeper.request_stop()
        return await asyncio.wait_for(running, 60)

    with RunDirectory.create(settings, open_checkpoint(settings.model)) as run_directory:
        metrics = ServiceMetrics(CollectorRegistry())
        keeper = EngineKeeper(run_directory, metrics, 1, print, loading_engine.MODULE)
        assert asyncio.run(stop_while_loading(keeper)) == 0

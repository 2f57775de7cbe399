"""Runs an engine without a server, for commands and tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from app.checkpoint.files import Checkpoint
from app.errors import StartupError, Unavailable
from app.ipc.child_process import ChildProcess
from app.ipc.engine_client import EngineClient
from app.ipc.run_directory import RunDirectory
from app.settings import Settings
from app.supervisor.engine_keeper import ENGINE_MODULE, EXIT_KILLED, start_engine


@contextlib.asynccontextmanager
async def running_engine(
    settings: Settings, checkpoint: Checkpoint, module: str = ENGINE_MODULE
) -> AsyncIterator[EngineClient]:
    """Run an engine within the block, and yield its client.

    Args:
        module: module of the engine process; tests pass one with known answers.

    Raises:
        StartupError: the engine did not become ready; it printed the reason on standard error.
    """
    with RunDirectory.create(settings, checkpoint) as run_directory:
        state = run_directory.open_state()
        state.begin_epoch()
        child = await start_engine(run_directory, module)
        try:
            if not await child.wait_until_ready():
                raise EngineNotReady(await child.wait())
            client = EngineClient(run_directory.engine_endpoint, state)
            watching = asyncio.create_task(_end_with(child, client))
            try:
                with client.receiving():
                    yield client
            finally:
                watching.cancel()
                client.close()
                child.request_stop()
                await child.wait()
        finally:
            # An engine that is still starting would miss the files of the run directory.
            await child.end()


async def _end_with(engine: ChildProcess, client: EngineClient) -> None:
    """End all requests when the engine ends, since no supervisor restarts it."""
    await engine.wait()
    client.end_all(Unavailable("the engine ended unexpectedly"))


class EngineNotReady(StartupError):
    """The engine ended before it was ready, and printed the reason itself."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("the engine did not start; see the error above")
        self.exit_code = exit_code if exit_code > 0 else EXIT_KILLED

"""An HTTP process: uvicorn with the application, told by the supervisor when to stop.

    python -m app.http.process RUN_DIRECTORY WORKER SOCKET [OPS_SOCKET]

`WORKER` is its number from 0, `SOCKET` the file descriptor it listens on, `OPS_SOCKET` that for
health and metrics alone, where they have a port of their own. Standard input is the pipe from the
supervisor: each line is one of `app/ipc/supervisor_messages.py`, and its end stops the process.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import uvicorn

from app.errors import Unavailable
from app.http.app import create_app
from app.http.idle_connections import max_connections_of, raise_descriptor_limit
from app.http.protocol import protocol_factory
from app.ipc.admission import Admission
from app.ipc.child_process import report_ready
from app.ipc.engine_client import EngineClient
from app.ipc.run_directory import RunDirectory
from app.ipc.supervisor_messages import EngineReady, decode_line
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from app.telemetry.logs import configure_logs, get_logger
from app.telemetry.tracing import Tracer

# Answers that end with the grace period need a moment to leave.
_AFTER_GRACE_S = 2

# asyncio accepts so many connections before it handles any of them, and when descriptors run out it
# reports an error for each of the rest (python/cpython #151615).
_ACCEPTED_AT_ONCE = 16

_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class SupervisedServer(uvicorn.Server):
    """A server that leaves signals to the supervisor, and says when it listens."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(socket.SOMAXCONN)  # uvicorn has set it to `_ACCEPTED_AT_ONCE`
        report_ready()


async def serve(run_directory: RunDirectory, worker: int, listeners: list[socket.socket]) -> None:
    """Serve until the supervisor sends `Drain` or is gone."""
    settings, state = run_directory.read_settings(), run_directory.open_state()
    checkpoint = run_directory.read_checkpoint()
    asyncio.get_running_loop().set_exception_handler(UnhandledErrors(monotonic).log)
    max_connections = max_connections_of(raise_descriptor_limit())
    ops_port = listeners[1].getsockname()[1] if len(listeners) > 1 else None
    engine = EngineClient(run_directory.engine_endpoint, state)
    admission = Admission(state, worker)
    tracer = Tracer(monotonic) if settings.tracing else None
    async with PicturePool(settings) as pictures:
        config = uvicorn.Config(
            create_app(
                settings, checkpoint, admission, engine, pictures, monotonic, ops_port, tracer
            ),
            http=protocol_factory(settings, max_connections),  # type: ignore[arg-type]  # called like the class it makes
            ws="none",
            backlog=_ACCEPTED_AT_ONCE,
            proxy_headers=False,  # who calls is nowhere asked for, so nobody has to be believed
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_period_s) + _AFTER_GRACE_S,
        )
        server = SupervisedServer(config)
        receiving = asyncio.create_task(engine.receive())
        handling = asyncio.create_task(_handle_supervisor_messages(server, engine, settings))
        await server.serve(sockets=listeners)
        handling.cancel()
        receiving.cancel()
        engine.close()
    if tracer is not None:
        tracer.close()


class UnhandledErrors:
    """Logs what asyncio reports; a lack of descriptors or memory once a second at most.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent_until = 0.0

    def log(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log without the exception's message, which may hold what a user sent."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NO_RESOURCES:
            if self._clock() >= self._silent_until:
                self._silent_until = self._clock() + 1
                get_logger().error(context["message"], reason=errno.errorcode[error.errno])
        else:
            get_logger().error(context["message"], exc_info=error)


async def _handle_supervisor_messages(
    server: uvicorn.Server, engine: EngineClient, settings: Settings
) -> None:
    """Handle each line of standard input, and stop when it ends: the supervisor is gone."""
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in lines:
        message = decode_line(line)
        if isinstance(message, EngineReady):
            await engine.on_engine_ready(message.epoch, message.suspects)
        else:
            server.should_exit = True
            stopping = Unavailable("the service is stopping")
            loop.call_later(settings.grace_period_s, engine.end_all, stopping)
    server.should_exit = True
    engine.end_all(Unavailable("the service is stopping"))


def main() -> None:
    """Serve with the arguments of the command line."""
    run_directory = RunDirectory(Path(sys.argv[1]))
    configure_logs(run_directory.read_settings().log_level, "http")
    listeners = [socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[3:]]
    asyncio.run(serve(run_directory, int(sys.argv[2]), listeners))


if __name__ == "__main__":
    main()

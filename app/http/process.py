"""An HTTP process: uvicorn with the application, started and stopped by the supervisor.

    python -m app.http.process RUN_DIRECTORY WORKER SOCKET [OPS_SOCKET]

`WORKER` is the number of the process, from 0. `SOCKET` is the file descriptor of the listening
socket, `OPS_SOCKET` that of the separate port for health and metrics, if there is one. Standard
input is the pipe from the supervisor: each line is a message of `app/ipc/supervisor_messages.py`,
and the process stops when the pipe ends.
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

from app.errors import StartupError, Unavailable
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

# Requests that the end of the grace period rejects need a moment to send their answers.
_AFTER_GRACE_S = 2

# asyncio accepts up to this many connections before it handles any of them; when descriptors run
# out, it reports an error for each remaining one (python/cpython #151615).
_ACCEPTED_AT_ONCE = 16

_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class SupervisedServer(uvicorn.Server):
    """A server that ignores signals and reports to the supervisor when it listens."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the supervisor handles them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report it to the supervisor."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(socket.SOMAXCONN)  # uvicorn set the backlog to `_ACCEPTED_AT_ONCE`
        report_ready()


async def serve(run_directory: RunDirectory, worker: int, listeners: list[socket.socket]) -> None:
    """Serve until the supervisor sends `Drain` or exits."""
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
            ws="none",  # `GuardedProtocol` ignores requests to upgrade
            backlog=_ACCEPTED_AT_ONCE,
            proxy_headers=False,  # the client's address is not used, so no proxy has to be trusted
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_period_s) + _AFTER_GRACE_S,
        )
        server = SupervisedServer(config)
        with engine.receiving():
            handling = asyncio.create_task(_handle_supervisor_messages(server, engine, settings))
            await server.serve(sockets=listeners)
            handling.cancel()
        engine.close()
    if tracer is not None:
        tracer.close()


class UnhandledErrors:
    """Logs the errors that asyncio reports; out-of-resource errors at most once per second.

    Args:
        clock: monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent_until = 0.0

    def log(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error that no task has handled.

        An `OSError` is logged without its message, which may hold user input.
        """
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
    """Handle each line of standard input; stop when it ends, because the supervisor has exited."""
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in lines:
        message = decode_line(line)
        if isinstance(message, EngineReady):
            engine.on_engine_ready(message.epoch, message.suspects)
        else:
            server.should_exit = True
            stopping = Unavailable("the service is stopping")
            loop.call_later(settings.grace_period_s, engine.end_all, stopping)
    server.should_exit = True
    engine.end_all(Unavailable("the service is stopping"))


def main() -> None:
    """Run the process with the arguments of the command line.

    An error of the start is printed as one line, and its code is the exit code.
    """
    run_directory = RunDirectory(Path(sys.argv[1]))
    settings = run_directory.read_settings()
    configure_logs(settings.log_level, "http", settings.log_format)
    listeners = [socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[3:]]
    try:
        asyncio.run(serve(run_directory, int(sys.argv[2]), listeners))
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

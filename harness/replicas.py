"""A replica of the service that can be stopped, killed and replaced at the same address."""

from contextlib import ExitStack
from types import TracebackType

import psutil

from harness.deployment import free_address
from harness.service import RunningService, running_service


class Replica:
    """One replica of the service at a fixed address."""

    def __init__(self, **settings: object) -> None:
        self.address = free_address()
        self._settings = settings | {"port": self.address.rpartition(":")[2]}
        self._stack = ExitStack()
        self._service: RunningService | None = None

    def __enter__(self) -> "Replica":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def service(self) -> RunningService:
        """The service that runs at the address."""
        assert self._service is not None
        return self._service

    def start(self) -> None:
        """Start the service and wait until it is ready."""
        self._service = self._stack.enter_context(running_service(**self._settings))

    def stop(self) -> int:
        """Send SIGTERM, as an orchestrator does, wait, and return the exit code."""
        return self.service.stop()

    def kill(self) -> None:
        """Kill all processes at once, as when the machine fails.

        All are suspended first, because a process that survives the others would answer 503. The
        supervisor dies first, because it holds the socket that would still accept connections.
        """
        supervisor = psutil.Process(self.service.process.pid)
        supervisor.suspend()
        children = supervisor.children(recursive=True)
        for child in children:
            child.suspend()
        self.service.process.kill()
        self.service.process.wait()
        for child in children:
            child.kill()
        self.service.process.communicate()

"""A child process: its standard input stops it, its standard output reports that it is ready.

A child reads its standard input; when that closes, its parent is gone, however it went, and the
child ends too. This needs no signal, no thread and no process group, on Linux and macOS alike.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from app.ipc.supervisor_messages import SupervisorMessage, encode_line

READY = b"ready\n"


class ChildProcess:
    """A running `python -m MODULE ARGUMENTS…`; made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls,
        module: str,
        arguments: Sequence[str],
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "ChildProcess":
        """Start a child, in a session of its own: a terminal's Ctrl-C reaches its parent alone.

        Args:
            module: that is run.
            arguments: of its command line.
            pass_fds: descriptors that it inherits.
            environment: what differs in its environment from ours.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=pass_fds,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def wait_until_ready(self) -> bool:
        """Wait until it reports that it is ready; return false if it ends before."""
        output = self._process.stdout
        return output is not None and await output.readline() == READY

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        return await self._process.wait()

    def send(self, message: SupervisorMessage) -> None:
        """Send it a message, which is lost when it has ended."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode_line(message))

    async def exchange(self, message: bytes, length_bytes: int) -> bytes:
        """Send a message and wait for the one that answers it: its length, big-endian, in front.

        Args:
            message: as the child reads it.
            length_bytes: of the length in front of the answer.

        Raises:
            EOFError: the child ended instead.
            ConnectionError: it had ended before.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        self._process.stdin.write(message)
        await self._process.stdin.drain()
        length = await self._process.stdout.readexactly(length_bytes)
        return await self._process.stdout.readexactly(int.from_bytes(length))

    def request_stop(self) -> None:
        """Close its standard input, which asks it to end."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End it now."""
        if self.is_running:
            self._process.kill()


def report_ready() -> None:
    """Called in a child, once, when it is ready."""
    os.write(sys.stdout.fileno(), READY)

"""Child processes, which stop when their input closes and report readiness on their output.

A child reads its standard input, which closes when the parent ends for any reason, and then ends
too. This needs no signal, no thread and no process group, and works on Linux and macOS.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from app.ipc.start_child import start_collecting
from app.ipc.supervisor_messages import SupervisorMessage, encode_line

READY = b"ready\n"
SINGLE_THREADED = MappingProxyType({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
"""Environment in which numpy starts no threads; otherwise one per processor, when imported."""
_READ_BYTES = 2**16


class ChildProcess:
    """A process that runs a module, with arguments; create it with `start`."""

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
        """Start a child process.

        Args:
            pass_fds: file descriptors that the child inherits.
            environment: variables that are added to this process's environment.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.ipc.start_child",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=pass_fds,
            env={**os.environ, **environment},
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent only
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the child has not ended yet."""
        return self._process.returncode is None

    async def wait_until_ready(self) -> bool:
        """Wait until the child reports that it is ready; return false if it ends before."""
        output = self._process.stdout
        return output is not None and await output.readline() == READY

    async def wait(self) -> int:
        """Wait until the child ends; return its exit code, negative for a signal."""
        return await self._process.wait()

    def send(self, message: SupervisorMessage) -> None:
        """Send a message to the child; the message is lost if the child has ended."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode_line(message))

    async def exchange(self, message: bytes, length_bytes: int) -> bytes:
        """Send a message and return the answer, which follows its big-endian length.

        Args:
            message: encoded message.
            length_bytes: size of the length in front of the answer.

        Raises:
            EOFError: the child ended before it answered.
            ConnectionError: the child had ended before the message.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        self._process.stdin.write(message)
        await self._process.stdin.drain()
        length = await self._process.stdout.readexactly(length_bytes)
        return await self._process.stdout.readexactly(int.from_bytes(length))

    def request_stop(self) -> None:
        """Close the child's standard input, which makes it end."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Kill the child."""
        if self.is_running:
            self._process.kill()

    async def end(self) -> int:
        """Kill it, discard its unread output, and return its exit code.

        asyncio reports the end of a process only after the end of its output, which it does not
        see while more than 128 KiB are unread. No other task may read the output.
        """
        self.kill()
        while self._process.stdout is not None and await self._process.stdout.read(_READ_BYTES):
            pass
        return await self.wait()


def report_ready() -> None:
    """Report to the parent that this process is ready; call it once.

    The garbage collector runs from now on.
    """
    start_collecting()
    os.write(sys.stdout.fileno(), READY)

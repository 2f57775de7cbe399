"""The picture processes of one HTTP process: as many pictures at once as there are of them."""

import asyncio
import os
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from app.errors import InvalidImage, Unavailable
from app.ipc.child_process import ChildProcess
from app.pictures.marks import BoxFormat, Mark, MediaType
from app.pictures.workers.messages import (
    LENGTH_BYTES,
    REFUSALS,
    Abilities,
    Decode,
    DecodedPicture,
    Describe,
    Draw,
    DrawnPicture,
    Job,
    Refusal,
    Result,
    read_result,
    to_frame,
)
from app.settings import Settings
from app.telemetry.logs import get_logger

R = TypeVar("R", Abilities, DecodedPicture, DrawnPicture)

_MODULE = "app.pictures.workers.process"
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""No thread but the main one: Landlock would not hold for those that numpy starts when imported."""
_MOST_BY_DEFAULT = 8
_ATTEMPTS = 2
_FAILED_ON_THE_PICTURE = frozenset(
    {signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
)
"""What ends a process that met something in a picture; all other signals come from outside."""


class PicturePool:
    """Opens users' pictures in processes that a picture may take down without harm to others.

    A picture in work is finished even if nobody waits for it any more: to start a process costs
    more than most pictures. One that takes too long is refused at once. One whose process dies
    otherwise is tried once more; then it is refused if its decoder failed, and told to come back if
    the process was killed from outside, which says nothing of the picture.

    Args:
        settings: how many processes, how many pixels.
    """

    def __init__(self, settings: Settings) -> None:
        self._processes = [PictureProcess(settings) for _ in range(_share(settings))]
        self._idle: asyncio.LifoQueue[PictureProcess] = asyncio.LifoQueue()
        self._work = set[asyncio.Task[Result]]()
        self._abilities = Abilities()

    @property
    def abilities(self) -> Abilities:
        """What its processes can do; known when the pool is entered."""
        return self._abilities

    async def __aenter__(self) -> Self:
        for process in self._processes:
            await process.start()
            self._idle.put_nowait(process)
        self._abilities = await self._perform(Describe(), Abilities)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for process in self._processes:
            await process.stop()

    async def decode(self, image: bytes, *, jpeg_round_trip: bool = False) -> DecodedPicture:
        """Decode a file; waits until a process is idle.

        Args:
            jpeg_round_trip: whether the picture passes through JPEG first.

        Raises:
            RequestError: the picture is at fault.
            Unavailable: its processes were killed.
        """
        return await self._perform(Decode(image, jpeg_round_trip), DecodedPicture)

    async def draw(
        self, image: bytes, marks: Sequence[Mark], media_type: MediaType, box_format: BoxFormat
    ) -> bytes:
        """The upright picture with marks drawn on it, as a file; waits until a process is idle.

        Args:
            media_type: of the file to make.
            box_format: the unit of the marks' boxes.

        Raises:
            RequestError: the picture is at fault.
            Unavailable: its processes were killed.
        """
        drawn = await self._perform(Draw(image, tuple(marks), media_type, box_format), DrawnPicture)
        return drawn.file

    async def _perform(self, job: Job, kind: type[R]) -> R:
        process = await self._idle.get()
        work = asyncio.create_task(process.perform(job))
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        work.add_done_callback(lambda _: self._idle.put_nowait(process))
        result = await asyncio.shield(work)
        if isinstance(result, Refusal):
            raise REFUSALS[result.kind](result.message)
        if not isinstance(result, kind):
            raise TypeError(f"a picture process answered {type(result)}")
        return result


class PictureProcess:
    """One process, started again whenever it has ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._arguments = str(settings.max_image_pixels), settings.log_level
        self._child: ChildProcess | None = None

    async def start(self) -> ChildProcess:
        """Start it; it gets ready while its first job waits in the pipe."""
        self._child = await ChildProcess.start(_MODULE, self._arguments, environment=_ENVIRONMENT)
        return self._child

    async def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            await self._child.wait()

    async def perform(self, job: Job) -> Result:
        """What comes of a job; nobody else may ask meanwhile.

        Raises:
            Unavailable: the process was killed, and so was the next one.
            RuntimeError: the process has ended by a defect of ours; its log tells which.
        """
        frame = to_frame(job)
        for _ in range(_ATTEMPTS):
            child = self._child
            if child is None or not child.is_running:
                child = await self.start()
            try:
                return read_result(await child.exchange(frame, LENGTH_BYTES))
            except (EOFError, ConnectionError):
                exit_code = await child.wait()
            get_logger().error("picture process ended", exit_code=exit_code)
            if exit_code >= 0:
                raise RuntimeError(f"a picture process ended with exit code {exit_code}")
            if exit_code == -signal.SIGXCPU:
                break
        if -exit_code not in _FAILED_ON_THE_PICTURE:
            raise Unavailable("the processes that opened the picture were killed")
        return Refusal(InvalidImage.__name__, "the picture cannot be decoded within the limits")


def _share(settings: Settings) -> int:
    """How many of the service's picture processes are this HTTP process's; at least one."""
    by_default = min(os.cpu_count() or 1, _MOST_BY_DEFAULT)
    return max(1, (settings.picture_processes or by_default) // settings.http_workers)

"""The picture processes of one HTTP process. Each opens one picture at a time."""

import asyncio
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from app.errors import InvalidImage, Unavailable
from app.ipc.child_process import SINGLE_THREADED, ChildProcess
from app.pictures.marks import BoxFormat, Mark, MediaType
from app.pictures.tiles import Tile, check_tiles
from app.pictures.workers.messages import (
    LENGTH_BYTES,
    MAX_TILES_PER_JOB,
    REFUSALS,
    Abilities,
    Cut,
    Decode,
    DecodedPicture,
    DecodedTiles,
    Describe,
    Draw,
    DrawnPicture,
    Job,
    Refusal,
    Result,
    read_result,
    to_frame,
)
from app.processors import count_processors
from app.settings import Settings
from app.telemetry.logs import get_logger

R = TypeVar("R", Abilities, DecodedPicture, DecodedTiles, DrawnPicture)

_MODULE = "app.pictures.workers.process"
_MOST_BY_DEFAULT = 8
_ATTEMPTS = 2
_FAILED_ON_THE_PICTURE = frozenset(
    {signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
)
"""Signals that a picture can cause in its own process; all others were sent from outside."""


class PicturePool:
    """Opens users' pictures in processes, so that a crash affects one picture only.

    A job runs to its end even if its caller is cancelled, because starting a process costs more
    than most pictures. A picture that exceeds the time limit is rejected at once. If the process
    dies otherwise, the job is retried once. If it dies again because a decoder crashed, the picture
    is rejected. If it was killed from outside, the client gets an error that permits a retry.

    Args:
        settings: the number of processes and the pixel limit.
    """

    def __init__(self, settings: Settings) -> None:
        num_processes = share_of_http_process(settings, count_processors().usable)
        self._processes = [PictureProcess(settings) for _ in range(num_processes)]
        self._idle: asyncio.LifoQueue[PictureProcess] = asyncio.LifoQueue()
        self._work = set[asyncio.Task[Result]]()
        self._abilities = Abilities()

    @property
    def abilities(self) -> Abilities:
        """What the processes support; known after the pool has been entered."""
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
            jpeg_round_trip: whether to encode and decode the picture as JPEG first.

        Raises:
            RequestError: the picture is invalid or not accepted.
            Unavailable: two processes in a row were killed.
        """
        return await self._perform(Decode(image, jpeg_round_trip), DecodedPicture)

    async def cut(
        self, image: bytes, tiles: Sequence[Tile], *, width: int, height: int
    ) -> tuple[bytes, ...]:
        """Return tiles of the upright picture, each squashed to 224×224 RGB pixels.

        The file is decoded once per call; waits until a process is idle.

        Args:
            tiles: 1 to `MAX_TILES_PER_JOB`. A caller with more sends them in parts, so that the
                pixels of all tiles are not in memory at once.
            width: of the upright picture, in pixels, as `decode` returned it; `height` too.

        Raises:
            ValueError: too many tiles, or a tile is not inside the picture.
            RequestError: the picture is invalid or not accepted.
            Unavailable: two processes in a row were killed.
        """
        if not 1 <= len(tiles) <= MAX_TILES_PER_JOB:
            raise ValueError(f"{len(tiles)} tiles; a job has 1 to {MAX_TILES_PER_JOB}")
        check_tiles(tiles, width, height)
        return (await self._perform(Cut(image, tuple(tiles)), DecodedTiles)).pixels

    async def draw(
        self, image: bytes, marks: Sequence[Mark], media_type: MediaType, box_format: BoxFormat
    ) -> bytes:
        """Return the upright picture with marks as a file; waits until a process is idle.

        Args:
            media_type: of the returned file.
            box_format: the unit of the marks' boxes.

        Raises:
            RequestError: the picture is invalid or not accepted.
            Unavailable: two processes in a row were killed.
        """
        drawn = await self._perform(Draw(image, tuple(marks), media_type, box_format), DrawnPicture)
        return drawn.file

    async def _perform(self, job: Job, kind: type[R]) -> R:
        process = await self._idle.get()
        work = asyncio.create_task(process.perform(job))
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        work.add_done_callback(lambda _: self._idle.put_nowait(process))
        # A cancelled request must not cancel the job: its answer would stay in the pipe.
        result = await asyncio.shield(work)
        if isinstance(result, Refusal):
            raise REFUSALS[result.kind](result.message)
        if not isinstance(result, kind):
            raise TypeError(f"a picture process returned {type(result)}, not {kind}")
        return result


class PictureProcess:
    """One picture process, restarted when it has ended."""

    def __init__(self, settings: Settings) -> None:
        self._arguments = str(settings.max_image_pixels), settings.log_level, settings.log_format
        self._child: ChildProcess | None = None

    async def start(self) -> ChildProcess:
        """Start the process. It initialises while its first job waits in the pipe."""
        # Landlock would not restrict threads that numpy has started before.
        self._child = await ChildProcess.start(
            _MODULE, self._arguments, environment=SINGLE_THREADED
        )
        return self._child

    async def stop(self) -> None:
        """Kill the process and wait for its end."""
        if self._child is not None:
            await self._child.end()

    async def perform(self, job: Job) -> Result:
        """Return the result of a job. The caller must not start another one meanwhile.

        Raises:
            Unavailable: the process was killed, and so was its successor.
            RuntimeError: the process exited because of a defect in our code; see its log.
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
            # A picture that used up its processor time would do so again.
            if exit_code == -signal.SIGXCPU:
                break
        if -exit_code not in _FAILED_ON_THE_PICTURE:
            raise Unavailable("the picture processes were killed; retry the request")
        return Refusal(InvalidImage.__name__, "the picture cannot be decoded within the limits")


def share_of_http_process(settings: Settings, num_processors: int) -> int:
    """Return the number of picture processes of each HTTP process, at least one.

    Args:
        num_processors: that the service may use.
    """
    by_default = min(num_processors, _MOST_BY_DEFAULT)
    return max(1, (settings.picture_processes or by_default) // settings.http_workers)

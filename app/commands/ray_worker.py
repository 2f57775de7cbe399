"""What runs on the nodes of a Ray cluster: reading pictures, and engines that answer them."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from pyarrow import fs

from app.checkpoint.files import open_checkpoint
from app.commands.offline import running_service
from app.commands.own_engine import EngineAnswerer
from app.settings import Settings
from kosmos2_client.batch.pacing import Pacing
from kosmos2_client.batch.request import BatchRequest
from kosmos2_client.batch.runner import RequestRefused, Runner, RunStopped
from kosmos2_client.run_file import Line, LineError

NAME, IMAGE, FAILURE, LINE, REFUSAL = "name", "image", "failure", "line", "refusal"
"""Columns: a picture's name, its file, why it cannot be read, its line of the run file."""

Batch = Mapping[str, Any]
"""Columns by name, each a sequence with one element per picture."""


def read_pictures(batch: Batch, root: str) -> dict[str, list[Any]]:
    """Return the names of a batch with the files of the pictures.

    Args:
        root: a folder, or the URI of one in an object store; names are relative to it.
    """
    open_file = _opener(root)
    columns: dict[str, list[Any]] = {NAME: list(batch[NAME]), IMAGE: [], FAILURE: []}
    for name in batch[NAME]:
        image, failure = b"", ""
        try:
            with open_file(bytes(name).decode("utf-8", "surrogateescape")) as file:
                image = file.read()
        except OSError as error:
            failure = error.strerror or str(error)
        columns[IMAGE].append(image)
        columns[FAILURE].append(failure)
    return columns


def _opener(root: str) -> Callable[[str], Any]:
    """Return a function that opens the picture with a name."""
    if "://" not in root:
        return lambda name: (Path(root) / name).open("rb")
    filesystem, folder = fs.FileSystem.from_uri(root)
    return lambda name: filesystem.open_input_stream(f"{folder}/{name}")


class EngineWorker:
    """Answers batches of pictures with an engine of its own; Ray runs one per actor.

    An engine that ends is started again, and the pictures of its batch are run one at a time: the
    picture that ends an engine by itself gets an error, the others get answers.

    Raises:
        StartupError: the engine did not start.
    """

    def __init__(self, settings: Settings, request: BatchRequest) -> None:
        self._settings, self._request = settings, request
        self._checkpoint = open_checkpoint(settings.model, settings.revision)
        self._runner = asyncio.Runner()
        self._engine = AsyncExitStack()
        self._answerer: EngineAnswerer
        self._num_slots = 1
        self._runner.run(self._start())

    def __call__(self, batch: Batch) -> dict[str, list[str]]:
        """Return the line of each picture, or one row with the refusal of the request."""
        pictures = {
            bytes(name).decode("utf-8", "surrogateescape"): (bytes(image), str(failure))
            for name, image, failure in zip(batch[NAME], batch[IMAGE], batch[FAILURE], strict=True)
        }
        try:
            lines = self._runner.run(self._run_all(pictures))
        except RequestRefused as refusal:  # Ray would pass on only its own errors
            return {LINE: [""], REFUSAL: [str(refusal)]}
        return {LINE: [line.to_json() for line in lines], REFUSAL: [""] * len(lines)}

    async def _start(self) -> None:
        running = running_service(self._settings, self._checkpoint)
        service, self._num_slots = await self._engine.enter_async_context(running)
        self._answerer = EngineAnswerer(service, self._settings)

    async def _run_all(self, pictures: Mapping[str, tuple[bytes, str]]) -> list[Line]:
        try:
            return await self._run(pictures)
        except RequestRefused:  # every picture would be refused; the engine is fine
            raise
        except RunStopped:
            await self._restart()
        return [await self._run_alone(name, picture) for name, picture in pictures.items()]

    async def _run_alone(self, name: str, picture: tuple[bytes, str]) -> Line:
        try:
            [line] = await self._run({name: picture})
        except RunStopped as error:
            await self._restart()
            return Line(name, error=LineError("engine_failure", str(error), 500))
        return line

    async def _run(self, pictures: Mapping[str, tuple[bytes, str]]) -> list[Line]:
        async def read(name: str) -> bytes:
            image, failure = pictures[name]
            if failure:
                raise OSError(0, failure)
            return image

        lines: list[Line] = []
        pacing = Pacing(self._num_slots, monotonic)
        runner = Runner(self._answerer, self._request, read, lines.append, pacing, monotonic)
        await runner.run(iter(pictures))
        return lines

    async def _restart(self) -> None:
        await self._engine.aclose()
        self._engine = AsyncExitStack()
        await self._start()

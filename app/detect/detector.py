"""Detects classes: one row per class and view, many in parallel, merged into predictions.

The rows of a detection enter the engine through a window of half the slots, view by view. The
engine holds the picture of a view while the view has unfinished rows, so that each picture crosses
to the engine once and is encoded once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from app.checkpoint.files import Checkpoint
from app.detect.collector import Collector
from app.detect.predictions import ClassResult, Detections
from app.detect.prompts import ClassPrompts, write_class_prompts
from app.detect.requests import MAX_ROWS, TOO_MANY_ROWS, DetectRequest, TileChoice
from app.detect.rows import MAX_TOKENS, RowRunner
from app.errors import InvalidRequest
from app.grounding.answers import ImageFacts
from app.grounding.requests import CallContext
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_client import EngineClient
from app.ipc.pending_request import Prompt
from app.pictures.tiles import Tile, auto_tiles, count_tiles, plan_tiles
from app.pictures.workers.messages import MAX_TILES_PER_JOB, DecodedPicture
from app.pictures.workers.pool import PicturePool

ClassHandler = Callable[[ClassResult], None]
"""Called with the result of each class as soon as it is final."""


def ignore_class(_: ClassResult) -> None:
    """Ignore the result of a class; for callers that need only the whole answer."""


@dataclass(frozen=True)
class _Run:
    """One detection in progress.

    Attributes:
        threshold: least confidence of a prediction, 0…1.
        window: permits for its rows in the engine.
        group: key that all its rows share.
        results: final results by class.
    """

    context: CallContext
    prompts: Sequence[ClassPrompts]
    threshold: float
    collector: Collector
    window: asyncio.Semaphore
    group: int
    on_class: ClassHandler
    results: dict[int, ClassResult] = field(default_factory=dict)

    def publish(self, result: ClassResult) -> None:
        """Keep the final result of a class and pass it on."""
        self.results[result.class_id] = result
        self.on_class(result)


class Detector:
    """Detects classes with an engine.

    Args:
        tokenizer: must belong to the checkpoint.
        max_sequence_length: tokens per slot.

    Raises:
        CheckpointError: the calibration does not fit the tokenizer.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Kosmos2Tokenizer,
        engine: EngineClient,
        pictures: PicturePool,
        max_sequence_length: int,
    ) -> None:
        self._checkpoint, self._engine, self._pictures = checkpoint, engine, pictures
        self._tokenizer, self._max_sequence_length = tokenizer, max_sequence_length
        self._rows = RowRunner(
            engine, tokenizer, checkpoint.calibration, checkpoint.no_repeat_ngram_size
        )

    async def detect(
        self, request: DetectRequest, context: CallContext, on_class: ClassHandler
    ) -> Detections:
        """Return the predictions of all classes.

        Args:
            on_class: called with the result of each class; must not block.

        Raises:
            RequestError: the picture or a field is invalid.
            ServiceError: the engine cannot answer now.
        """
        calibration = self._checkpoint.calibration
        prompts = write_class_prompts(
            self._tokenizer, calibration, request.classes, self._max_sequence_length, MAX_TOKENS
        )
        picture = await self._pictures.decode(request.image)
        image = ImageFacts(picture.width, picture.height, picture.exif_orientation)
        tiles = _tiles_of(request.tiles, image, len(request.classes))
        threshold = request.threshold
        if threshold is None:
            threshold = calibration.default_threshold
        collector = Collector(request, threshold, image, [None, *tiles])
        window = asyncio.Semaphore(max(1, self._engine.state.engine_facts.num_slots // 2))
        group = self._engine.new_group()
        run = _Run(context, prompts, threshold, collector, window, group, on_class)
        await self._run_views(run, self._views(request.image, picture, tiles))
        if request.suppression.class_agnostic:
            for result in await asyncio.to_thread(collector.merge_all):
                run.publish(result)
        return Detections(
            id=context.request_id,
            model=self._checkpoint.name,
            classes=tuple(run.results[number] for number in range(len(prompts))),
            image=image,
            threshold=threshold,
            num_tiles=len(tiles),
            is_calibrated=calibration.is_measured,
            notice=self._checkpoint.notice,
            usage=collector.usage,
        )

    async def _views(
        self, image: bytes, picture: DecodedPicture, tiles: Sequence[Tile]
    ) -> AsyncIterator[bytes]:
        """Yield the pixels of the whole picture, then of each tile."""
        yield picture.pixels
        # In groups: all tiles at once would hold 150 kB each until the last has its turn.
        for start in range(0, len(tiles), MAX_TILES_PER_JOB):
            group = tiles[start : start + MAX_TILES_PER_JOB]
            width, height = picture.width, picture.height
            for pixels in await self._pictures.cut(image, group, width=width, height=height):
                yield pixels

    async def _run_views(self, run: _Run, views: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                number = 0
                async for pixels in views:
                    # A view opens when all rows of the one before it have entered the window.
                    started = asyncio.Event()
                    tasks.create_task(self._run_view(run, number, pixels, started))
                    await started.wait()
                    number += 1
        except ExceptionGroup as group:
            raise _first_error(group) from None

    async def _run_view(
        self, run: _Run, number: int, pixels: bytes, started: asyncio.Event
    ) -> None:
        digest = hashlib.sha256(pixels).digest()
        context = run.context
        with self._engine.hold(pixels, digest, context.deadline) as held:
            prompt = Prompt([], pixels, digest, held, run.group, context.priority)
            async with asyncio.TaskGroup() as tasks:
                for class_id in range(len(run.prompts)):
                    await run.window.acquire()
                    tasks.create_task(self._run_row(run, class_id, number, prompt))
                started.set()

    async def _run_row(self, run: _Run, class_id: int, view: int, prompt: Prompt) -> None:
        """Run a row that holds a permit of the window, and release the permit."""
        try:
            row = await self._rows.run(
                run.prompts[class_id], prompt, run.threshold, run.context.deadline
            )
        finally:
            run.window.release()
        result = run.collector.add(class_id, view, row)
        if result is not None:
            run.publish(result)


def _tiles_of(choice: TileChoice, image: ImageFacts, num_classes: int) -> list[Tile]:
    """Return the tiles to search in addition to the whole picture.

    Raises:
        InvalidRequest: there would be more rows than `MAX_ROWS`.
    """
    options = auto_tiles(image.width, image.height) if choice == "auto" else choice
    if options is None or options == "none":
        return []
    num_rows = num_classes * (1 + count_tiles(image.width, image.height, options))
    if num_rows > MAX_ROWS:
        message = (
            f"classes × (1 + tiles) is {num_rows:,} for this picture of {image.width} × "
            f"{image.height}; the limit is {MAX_ROWS}: send larger tiles or fewer classes"
        )
        raise InvalidRequest("tiles", message, code=TOO_MANY_ROWS)
    return plan_tiles(image.width, image.height, options)


def _first_error(group: ExceptionGroup) -> Exception:
    """Return the first error of nested groups; the tasks after it have been cancelled."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error

"""The use case: accepts a picture and a task, returns grounded text with boxes."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from time import monotonic

from app.checkpoint.files import Checkpoint
from app.detect.detector import ClassHandler, Detector, ignore_class
from app.detect.predictions import Detections
from app.detect.requests import DetectRequest
from app.errors import DeadlineExceeded, InvalidRequest
from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import (
    Answer,
    AnswerEvent,
    DrawnBoxes,
    ImageFacts,
    Timings,
    Usage,
    marks_of,
)
from app.grounding.prompts import encode_request, longest_field
from app.grounding.requests import CallContext, GroundRequest
from app.grounding.stop_texts import StoppingReader
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.admission import Admission
from app.ipc.engine_client import EngineClient
from app.ipc.engine_messages import NewToken, SamplingParameters
from app.ipc.pending_request import Prompt
from app.ipc.sampling_limits import MAX_CHOSEN_SEED
from app.pictures.marks import BoxFormat, Mark, MediaType
from app.pictures.workers.messages import DecodedPicture
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics
from app.telemetry.timeline import Timeline

EventHandler = Callable[[AnswerEvent], None]
"""Called with each part of an answer as soon as that part is final."""


def ignore_event(_: AnswerEvent) -> None:
    """Ignore a part of an answer; for callers that need only the whole answer."""


class Service:
    """Answers requests with an engine.

    Args:
        admission: bounds the number of requests in work.
        pictures: decodes users' pictures in separate processes.
        clock: monotonic, seconds; has to be the clock of the engine's process.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: Checkpoint,
        tokenizer: Kosmos2Tokenizer,
        admission: Admission,
        engine: EngineClient,
        pictures: PicturePool,
        metrics: HttpMetrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings, self._checkpoint, self._tokenizer = settings, checkpoint, tokenizer
        self._admission, self._engine, self._pictures = admission, engine, pictures
        self._metrics, self._clock = metrics, clock
        self._detector = Detector(
            checkpoint, tokenizer, engine, pictures, settings.max_sequence_length
        )

    async def ground(
        self,
        request: GroundRequest,
        context: CallContext,
        on_event: EventHandler = ignore_event,
    ) -> Answer:
        """Return the answer to a request.

        Cancelling the call releases the permit at once, and the slot at the engine's next step.

        Args:
            on_event: called with each part of the answer; must not block.

        Raises:
            RequestError: the picture or the prompt is invalid.
            ServiceError: the service cannot answer now.
        """
        async with self._admitted(context):
            return await self._ground(request, context, on_event)

    async def detect(
        self,
        request: DetectRequest,
        context: CallContext,
        on_class: ClassHandler = ignore_class,
    ) -> Detections:
        """Return the detected objects of all classes.

        Cancelling the call releases the permit at once, and the slots at the engine's next step.

        Args:
            on_class: called with the result of each class; must not block.

        Raises:
            RequestError: the picture or a field is invalid.
            ServiceError: the service cannot answer now.
        """
        async with self._admitted(context):
            detections = await self._detector.detect(request, context, on_class)
            context.timeline.end("detect", self._clock())
            total_s = context.timeline.reached_at - context.timeline.received_at
            return replace(detections, total_s=total_s)

    async def annotate(
        self,
        request: GroundRequest,
        context: CallContext,
        media_type: MediaType,
        *,
        shows_scores: bool,
        kind: DrawnBoxes,
    ) -> tuple[Answer, bytes]:
        """Return the answer to a request, and the picture's file with its entities drawn on it.

        Raises:
            RequestError: the picture or the prompt is invalid.
            ServiceError: the service cannot answer now.
        """
        async with self._admitted(context):
            answer = await self._ground(request, context, ignore_event)
            marks = marks_of(answer.grounded.entities, shows_scores=shows_scores, kind=kind)
            # Decode the picture again: at full size it would occupy memory while the model runs.
            drawn = await self._pictures.draw(request.image, marks, media_type, "pixel")
            context.timeline.end("draw", self._clock())
            return answer, drawn

    async def draw(
        self,
        image: bytes,
        marks: Sequence[Mark],
        context: CallContext,
        media_type: MediaType,
        *,
        box_format: BoxFormat,
    ) -> bytes:
        """Return the picture's file with `marks` drawn on it; the model does not run.

        Args:
            media_type: of the returned file.
            box_format: the unit of the marks' boxes.

        Raises:
            RequestError: the picture is invalid.
            ServiceError: the service cannot answer now.
        """
        async with self._admitted(context):
            drawn = await self._pictures.draw(image, marks, media_type, box_format)
            context.timeline.end("draw", self._clock())
            return drawn

    @asynccontextmanager
    async def _admitted(self, context: CallContext) -> AsyncIterator[None]:
        """Hold one of the service's permits inside the block, which times out at the deadline."""
        try:
            async with asyncio.timeout(context.deadline - self._clock()):
                with self._admission.permit(context.priority):
                    context.timeline.end("admission", self._clock())
                    yield
        except TimeoutError:
            raise DeadlineExceeded("the answer was not complete in time") from None

    async def _ground(
        self, request: GroundRequest, context: CallContext, on_event: EventHandler
    ) -> Answer:
        timeline = context.timeline
        picture = await self._decode_picture(request)
        timeline.end("picture", self._clock())
        image = ImageFacts(picture.width, picture.height, picture.exif_orientation)
        token_ids = encode_request(self._tokenizer, request, image)
        # The digest is the key of the cache of pictures: equal pixels share their prefix.
        digest = hashlib.sha256(picture.pixels).digest()
        prompt = Prompt(token_ids, picture.pixels, digest, priority=context.priority)
        sampling = self._choose_sampling(request, len(prompt.token_ids))
        reader = StoppingReader(
            AnswerReader(
                self._tokenizer,
                prompt.token_ids,
                image,
                keeps_literals=True,
                calibration=self._checkpoint.calibration,
            ),
            request.stop,
        )
        generated = self._engine.generate(prompt, sampling, context.deadline)
        new_tokens, first_token_s = await self._read(generated, timeline, reader, on_event)
        grounded = reader.grounded()
        timeline.end("parse", self._clock())
        return Answer(
            id=context.request_id,
            model=self._checkpoint.name,
            task=request.task.name,
            grounded=grounded,
            image=image,
            is_calibrated=self._checkpoint.calibration.is_measured,
            notice=self._checkpoint.notice,
            seed=sampling.seed if sampling.temperature > 0 else None,
            usage=Usage(len(prompt.token_ids), len(new_tokens), new_tokens[0].cached_tokens),
            timings=Timings(
                queue_s=new_tokens[0].queue_s,
                preprocess_s=timeline.seconds("picture"),
                time_to_first_token_s=first_token_s,
                total_s=timeline.reached_at - timeline.received_at,
            ),
            tokens=reader.tokens,
        )

    async def _decode_picture(self, request: GroundRequest) -> DecodedPicture:
        with self._metrics.image_preprocess_seconds.time():
            return await self._pictures.decode(
                request.image, jpeg_round_trip=request.jpeg_round_trip
            )

    def _choose_sampling(
        self, request: GroundRequest, num_prompt_tokens: int
    ) -> SamplingParameters:
        limit = self._settings.max_sequence_length
        if num_prompt_tokens >= limit:
            raise InvalidRequest(
                longest_field(self._tokenizer, request),
                f"makes the prompt {num_prompt_tokens} tokens long; with at least one new token it "
                f"exceeds the limit of {limit} tokens",
            )
        max_new_tokens = request.max_new_tokens
        if request.shortens_answer:
            max_new_tokens = min(max_new_tokens, limit - num_prompt_tokens)
        if num_prompt_tokens + max_new_tokens > limit:
            raise InvalidRequest(
                "max_new_tokens",
                f"the prompt has {num_prompt_tokens} tokens; with {max_new_tokens} new "
                f"tokens it exceeds the limit of {limit}: send at most {limit - num_prompt_tokens}",
            )
        ngram_size = request.no_repeat_ngram_size
        return SamplingParameters(
            max_new_tokens=max_new_tokens,
            no_repeat_ngram_size=self._checkpoint.no_repeat_ngram_size
            if ngram_size is None
            else ngram_size,
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            # The answer returns the chosen seed, so that the client can repeat the request.
            seed=secrets.randbelow(MAX_CHOSEN_SEED + 1) if request.seed is None else request.seed,
        )

    async def _read(
        self,
        generated: AsyncGenerator[NewToken],
        timeline: Timeline,
        reader: StoppingReader,
        on_event: EventHandler,
    ) -> tuple[list[NewToken], float]:
        """Return all tokens of the answer and the time to the first token, in seconds."""
        new_tokens: list[NewToken] = []
        sent_at = previous_at = self._clock()
        async with aclosing(generated):
            async for new_token in generated:
                now = self._clock()
                if new_tokens:
                    self._metrics.inter_token_latency_seconds.observe(now - previous_at)
                else:
                    timeline.end("queue", sent_at + new_token.queue_s)
                    timeline.end("vision", timeline.reached_at + new_token.vision_s)
                    timeline.end("prefill", now)
                new_tokens.append(new_token)
                previous_at = now
                for event in reader.read(new_token):
                    on_event(event)
                if reader.has_stopped:
                    break  # closing the generator frees the slot
        first_token_s = timeline.reached_at - timeline.received_at
        self._metrics.time_to_first_token_seconds.observe(first_token_s)
        timeline.end("decode", previous_at)
        return new_tokens, first_token_s

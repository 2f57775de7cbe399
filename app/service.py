"""The use case: a picture and a task in, grounded text with boxes out."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic

from app.answers import Answer, AnswerEvent, ImageFacts, Timings, Usage
from app.checkpoint import Checkpoint
from app.engine.client import EngineClient, Prompt
from app.engine.messages import NewToken, SamplingParameters
from app.errors import DeadlineExceeded, InvalidRequest
from app.grounding.boxes import BoxFormat, CellPair, box_to_patch_indices, parse_user_box
from app.metrics import HttpMetrics
from app.pictures.decode import Picture, decode_picture
from app.reading import AnswerReader
from app.settings import Settings
from app.tasks import Region, Task, write_prompt
from app.tokenizer import Kosmos2Tokenizer

MAX_SEED = 2**63 - 1
RAW_TASK = "raw"

Listener = Callable[[AnswerEvent], None]
"""Is told of each part of an answer as soon as it is final."""


def listen_to_nothing(_: AnswerEvent) -> None:
    """Wait for the whole answer."""


@dataclass(frozen=True)
class UserRegion:
    """A place as the sender tells it.

    Attributes:
        phrase: what it is called.
        boxes: xyxy, in the request's `box_format`.
    """

    phrase: str | None
    boxes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GroundRequest:
    """A request whose fields are each within their limits.

    Attributes:
        image: the picture's file.
        task: what is asked for.
        text: the phrase, the expression, the question or the raw prompt.
        regions: places that the prompt speaks of.
        box_format: of the regions' boxes.
        grounding: whether boxes are asked for.
        jpeg_round_trip: whether the picture passes through JPEG first.
        max_new_tokens: 1…1024.
        no_repeat_ngram_size: 0…8; none: the checkpoint's.
        temperature: 0…2.
        top_k: ≥ 0.
        top_p: (0, 1].
        seed: 0…2⁶³−1; none: one is chosen.
    """

    image: bytes
    task: Task
    text: str | None = None
    regions: tuple[UserRegion, ...] = ()
    box_format: BoxFormat = "pixel"
    grounding: bool = True
    jpeg_round_trip: bool = False
    max_new_tokens: int = 128
    no_repeat_ngram_size: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None


class Service:
    """Answers requests with an engine.

    Args:
        settings: limits.
        checkpoint: what is served.
        tokenizer: the checkpoint's.
        engine: runs it.
        metrics: what is counted.
        clock: monotonic, seconds; the engine's processes share it.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: Checkpoint,
        tokenizer: Kosmos2Tokenizer,
        engine: EngineClient,
        metrics: HttpMetrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings, self._checkpoint, self._tokenizer = settings, checkpoint, tokenizer
        self._engine, self._metrics, self._clock = engine, metrics, clock

    async def ground(
        self,
        request: GroundRequest,
        listener: Listener = listen_to_nothing,
        *,
        request_id: str,
        received_at: float,
    ) -> Answer:
        """Answer one request; cancelling the call frees all it held by the engine's next step.

        Args:
            request: what is asked.
            listener: is told each part of the answer; has to return at once.
            request_id: names the request in the answer.
            received_at: when its headers were complete; the deadline counts from there.

        Raises:
            RequestError: the picture or the prompt is at fault.
            ServiceError: the service cannot answer now.
        """
        deadline = received_at + self._settings.deadline_s
        try:
            async with asyncio.timeout(deadline - self._clock()):
                with self._engine.permit():
                    return await self._ground(request, request_id, received_at, deadline, listener)
        except TimeoutError:
            raise DeadlineExceeded("the answer was not complete in time") from None

    async def _ground(
        self,
        request: GroundRequest,
        request_id: str,
        received_at: float,
        deadline: float,
        listener: Listener,
    ) -> Answer:
        began = self._clock()
        picture = await self._decode(request)
        preprocess_s = self._clock() - began
        image = ImageFacts(picture.width, picture.height, picture.exif_orientation)
        prompt = self._write_prompt(request, image, picture.pixels)
        del picture  # at full size it is large, and only its 224×224 pixels are needed from here
        sampling = self._choose_sampling(request, len(prompt.token_ids))
        reader = AnswerReader(self._tokenizer, prompt.token_ids, image)
        new_tokens, first_at = await self._generate(prompt, sampling, deadline, reader, listener)
        self._metrics.time_to_first_token_seconds.observe(first_at - received_at)
        return Answer(
            id=request_id,
            model=self._checkpoint.name,
            task=request.task.name,
            grounded=reader.grounded(),
            image=image,
            seed=sampling.seed if sampling.temperature > 0 else None,
            usage=Usage(len(prompt.token_ids), len(new_tokens), new_tokens[-1].cached_tokens),
            timings=Timings(
                queue_s=new_tokens[0].queue_s,
                preprocess_s=preprocess_s,
                time_to_first_token_s=first_at - received_at,
                total_s=self._clock() - received_at,
            ),
        )

    async def _decode(self, request: GroundRequest) -> Picture:
        """Decode the picture in a thread: Pillow lets go of Python's lock for most of it."""
        with self._metrics.image_preprocess_seconds.time():
            return await asyncio.to_thread(
                decode_picture,
                request.image,
                max_pixels=self._settings.max_image_pixels,
                jpeg_round_trip=request.jpeg_round_trip,
            )

    def _write_prompt(self, request: GroundRequest, image: ImageFacts, pixels: bytes) -> Prompt:
        self._refuse_control_tokens(request)
        text = write_prompt(
            request.task,
            text=request.text,
            regions=[
                Region(region.phrase, _encode_boxes(number, region, request.box_format, image))
                for number, region in enumerate(request.regions)
            ],
            grounding=request.grounding,
        )
        token_ids = self._tokenizer.encode_prompt(text)
        return Prompt(token_ids, pixels, hashlib.sha256(pixels).digest())

    def _refuse_control_tokens(self, request: GroundRequest) -> None:
        if request.text is not None and request.task.name == RAW_TASK:
            self._tokenizer.refuse_control_tokens_in_raw("text", request.text)
        elif request.text is not None:
            self._tokenizer.refuse_control_tokens("text", request.text)
        for number, region in enumerate(request.regions):
            if region.phrase is not None:
                self._tokenizer.refuse_control_tokens(f"regions[{number}].phrase", region.phrase)

    def _choose_sampling(
        self, request: GroundRequest, num_prompt_tokens: int
    ) -> SamplingParameters:
        limit = self._settings.max_sequence_length
        if num_prompt_tokens + request.max_new_tokens > limit:
            raise InvalidRequest(
                "max_new_tokens",
                f"the prompt has {num_prompt_tokens} tokens, with {request.max_new_tokens} new "
                f"ones that is over the limit of {limit}",
            )
        ban = request.no_repeat_ngram_size
        return SamplingParameters(
            max_new_tokens=request.max_new_tokens,
            no_repeat_ngram_size=self._checkpoint.no_repeat_ngram_size if ban is None else ban,
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        )

    async def _generate(
        self,
        prompt: Prompt,
        sampling: SamplingParameters,
        deadline: float,
        reader: AnswerReader,
        listener: Listener,
    ) -> tuple[list[NewToken], float]:
        """All tokens of the answer, read as they come, and when the first was here."""
        new_tokens: list[NewToken] = []
        first_at = previous_at = 0.0
        async with aclosing(self._engine.generate(prompt, sampling, deadline)) as generated:
            async for new_token in generated:
                now = self._clock()
                if new_tokens:
                    self._metrics.inter_token_latency_seconds.observe(now - previous_at)
                else:
                    first_at = now
                new_tokens.append(new_token)
                previous_at = now
                for event in reader.read(new_token):
                    listener(event)
        return new_tokens, first_at


def _encode_boxes(
    number: int, region: UserRegion, box_format: BoxFormat, image: ImageFacts
) -> tuple[CellPair, ...]:
    """The cells of a region's boxes.

    Raises:
        InvalidRequest: a box is none, or lies outside the picture.
    """
    pairs = []
    for place, xyxy in enumerate(region.boxes):
        try:
            box = parse_user_box(
                xyxy, width=image.width, height=image.height, box_format=box_format
            )
        except ValueError as error:
            raise InvalidRequest(f"regions[{number}].boxes[{place}]", str(error)) from None
        pairs.append(box_to_patch_indices(box))
    return tuple(pairs)

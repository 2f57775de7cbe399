"""The client for programs without `async`."""

import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Self, TypeVar, Unpack

import httpx

from kosmos2_client import calls
from kosmos2_client.calls import AnnotateOptions, Call, DetectOptions, GroundOptions, MediaType
from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.events import Event, EventReader
from kosmos2_client.folders import pictures_in
from kosmos2_client.http_messages import (
    Endpoint,
    build_request,
    errors_of_environment,
    failure_of,
    has_events,
    open_reply_of,
    reply_of,
)
from kosmos2_client.parallel import in_threads
from kosmos2_client.pictures import Picture
from kosmos2_client.replies import Reply
from kosmos2_client.results import Detections, Grounding, Result
from kosmos2_client.retries import Outcome, RetryPolicy, Send, Wait, exchange
from kosmos2_client.tasks import Task

T = TypeVar("T")


class Kosmos2:
    """A client; several threads may use one.

    Methods raise `Kosmos2ClientError`, and `OSError` for a file that cannot be read.

    Args:
        url: base URL of the service, such as `http://127.0.0.1:8000`.
        retries: how often and how long a call is tried.
        transport: of httpx, for tests and proxies.
        clock: monotonic, in seconds.
        sleep: waits for some seconds.

    Raises:
        InvalidUrl: the URL is not one of HTTP.
        InvalidInput: a proxy or certificates of the environment cannot be used.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        retries: RetryPolicy | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._clock, self._sleep = clock, sleep
        options = Endpoint(url, api_key).options()
        with errors_of_environment():
            self._http = httpx.Client(transport=transport, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ground(self, picture: Picture, task: str, **options: Unpack[GroundOptions]) -> Grounding:
        """Return text and boxes for a picture and a task."""
        return self._answer(calls.ground(picture, task, options))

    def ground_stream(
        self, picture: Picture, task: str, **options: Unpack[GroundOptions]
    ) -> Generator[Event, None, None]:
        """Yield the parts of an answer as soon as they are final, then the whole answer.

        A stream that is cut is not tried again, since its first events have been used.
        """
        reply = self._exchange(calls.ground_stream(picture, task, options))
        reader = EventReader()
        with closing(reply.opened()) as response:
            try:
                for data in response.iter_bytes():
                    yield from reader.feed(data)
            except httpx.HTTPError as error:
                raise failure_of(error) from None
        reader.close()

    def detect(
        self, picture: Picture, classes: str | Sequence[str], **options: Unpack[DetectOptions]
    ) -> Detections:
        """Return the objects of the classes."""
        return self._answer(calls.detect(picture, classes, options))

    def detect_many(
        self,
        pictures: Sequence[Picture],
        classes: str | Sequence[str],
        *,
        concurrency: int = 8,
        **options: Unpack[DetectOptions],
    ) -> list[Detections]:
        """Return the objects in each picture, in the order of the pictures.

        Args:
            concurrency: requests at the same time.
        """

        def detect(item: tuple[int, Picture]) -> Detections:
            return self.detect(item[1], classes, **options)

        found = in_threads(detect, enumerate(pictures), concurrency)
        in_order = sorted(found, key=lambda pair: pair[0][0])
        return [detections for _, detections in in_order]

    def map_folder(
        self,
        folder: str | PathLike[str],
        classes: str | Sequence[str],
        *,
        concurrency: int = 8,
        **options: Unpack[DetectOptions],
    ) -> Generator[tuple[Path, Detections | Kosmos2ClientError | OSError], None, None]:
        """Yield each picture of a folder and its subfolders with its detections, as they complete.

        An error of one picture is yielded instead of its detections. For a run that resumes after
        an interruption, use `kosmos2-client batch`.

        Args:
            concurrency: requests at the same time.
        """

        def detect(path: Path) -> Detections | Kosmos2ClientError | OSError:
            try:
                return self.detect(path, classes, **options)
            except (Kosmos2ClientError, OSError) as error:
                return error

        return in_threads(detect, pictures_in(folder), concurrency)

    def annotate(
        self,
        picture: Picture,
        result: Result | None = None,
        *,
        media_type: MediaType = "image/png",
        **options: Unpack[AnnotateOptions],
    ) -> bytes:
        """Return the file of the picture with boxes drawn on it.

        Args:
            result: draws its predictions; otherwise pass `task` or `entities`.
        """
        return self._answer(calls.annotate(picture, result, media_type, options))

    def tasks(self) -> list[Task]:
        """Return the tasks of the service, with examples."""
        return self._answer(calls.tasks())

    def _answer(self, call: Call[T]) -> T:
        return call.read(self._exchange(call))

    def _exchange(self, call: Call[T]) -> Reply:
        """Send a request until it succeeds: `exchange` decides, this method acts."""
        steps = exchange(self._retries, self._clock, random.random)
        outcome: Outcome = None
        while True:
            try:
                action = steps.send(outcome)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            outcome = self._act(call, action)

    def _act(self, call: Call[T], action: Send | Wait) -> Outcome:
        if isinstance(action, Wait):
            self._sleep(action.seconds)
            return None
        deadline = self._clock() + action.timeout_s
        request = build_request(self._http, call, action.timeout_s)
        try:
            response = self._http.send(request, stream=True)
            if call.is_stream and has_events(response):
                return open_reply_of(response)
            with closing(response):
                return reply_of(response, self._read(response, deadline))
        except httpx.HTTPError as error:
            return failure_of(error)

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        """Return the content; httpx itself only limits the time between two parts of it.

        Raises:
            httpx.HTTPError: it is not complete in time, or was cut.
        """
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if self._clock() >= deadline:
                raise httpx.ReadTimeout("the answer arrives too slowly")
        return bytes(content)

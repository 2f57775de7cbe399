"""A run writes one outcome per picture, in spite of rejections, failures and outages."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from harness.virtual_time import run_in_virtual_time
from kosmos2_client import ConnectionFailed, InvalidAnswer
from kosmos2_client.batch.labels import Labels
from kosmos2_client.batch.pacing import Pacing
from kosmos2_client.batch.request import BatchRequest, Fields
from kosmos2_client.batch.runner import Limits, RequestRefused, Runner, RunStopped
from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.replies import problem_of
from kosmos2_client.run_file import Line
from tests.kosmos2_client.answers import detections, problem

REQUEST = BatchRequest(Labels.from_names(["star"]), {"confidence": 0.2})
FOUND = detections("star")

Behaviour = Callable[["Service", str], Awaitable[Kosmos2ClientError | None]]
"""What the service does with a picture: it returns an error, or `None` for an answer."""


def failure(status: int, retry_after_s: float | None = None) -> Kosmos2ClientError:
    return problem_of(status, problem(status, f"code_{status}"), retry_after_s)


class Service:
    """Answers pictures, whose files are their names, as a behaviour decides."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.tries: list[tuple[float, str]] = []
        self.num_running = self.most_running = 0
        self.ended_at = 0.0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def num_tries(self, name: str) -> int:
        return sum(tried == name for _, tried in self.tries)

    async def answer(self, image: bytes, fields: Fields) -> Any:
        assert fields == {"classes": ["star"], "confidence": 0.2}
        self.tries.append((self.now, image.decode()))
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            await asyncio.sleep(1)
            error = await self._behaviour(self, image.decode())
        finally:
            self.num_running -= 1
        if error is not None:
            raise error
        return FOUND


async def read(name: str) -> bytes:
    if name.startswith("missing"):
        raise FileNotFoundError(2, "No such file or directory")
    return name.encode()


def run(
    behaviour: Behaviour,
    *names: str,
    max_concurrency: int = 4,
    limits: Limits | None = None,
    lines: list[Line] | None = None,
) -> tuple[list[Line], Service]:
    """Run pictures in virtual time; return the lines in their order, and the service.

    Args:
        lines: receives the lines of a run that raises.
    """
    lines, service = [] if lines is None else lines, Service(behaviour)

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        pacing = Pacing(max_concurrency, clock)
        runner = Runner(service, REQUEST, read, lines.append, pacing, clock, limits)
        await runner.run(iter(names))
        service.ended_at = clock()

    run_in_virtual_time(main())
    return lines, service


async def succeed(_: Service, __: str) -> None:
    return None


def test_every_picture_has_an_answer_and_the_concurrency_is_limited() -> None:
    names = [f"{number}.jpg" for number in range(40)]
    lines, service = run(succeed, *names)
    assert sorted(line.path for line in lines) == sorted(names)
    assert all(line.answer == FOUND for line in lines)
    assert (service.most_running, service.tries[-1][0]) == (4, 9)


def test_a_rejected_picture_is_final() -> None:
    async def reject(_: Service, name: str) -> Kosmos2ClientError | None:
        return failure(422) if name == "b" else None

    lines, service = run(reject, "a", "b", "c")
    [error] = [line.error for line in lines if line.error]
    assert (error.code, error.status, error.detail) == ("code_422", 422, "a reason")
    assert service.num_tries("b") == 1


def test_a_file_that_cannot_be_read_is_final() -> None:
    lines, service = run(succeed, "a", "missing")
    [error] = [line.error for line in lines if line.error]
    assert (error.code, error.status) == ("unreadable_file", None)
    assert service.num_tries("missing") == 0


def test_a_full_service_costs_no_picture_and_its_wait_is_kept() -> None:
    """The service has two places, and needs a second per picture."""

    async def serve(service: Service, name: str) -> Kosmos2ClientError | None:
        return failure(503, 7.0) if service.num_running > 2 else None

    names = [f"{number}" for number in range(30)]
    lines, service = run(serve, *names, max_concurrency=16)
    assert sorted(line.path for line in lines) == sorted(names)
    assert all(line.answer for line in lines)
    times: dict[str, list[float]] = {}
    for at, name in service.tries:
        times.setdefault(name, []).append(at)
    again = [b - a for tries in times.values() for a, b in pairwise(tries)]
    assert again
    assert min(again) >= 8  # the answer after a second, then seven


def test_a_picture_that_always_fails_is_written_last() -> None:
    """It is tried several times, while the other pictures are answered."""

    async def serve(_: Service, name: str) -> Kosmos2ClientError | None:
        return failure(500) if name == "0" else None

    lines, service = run(serve, *[f"{number}" for number in range(30)])
    assert lines[-1].path == "0"
    assert lines[-1].error is not None
    assert lines[-1].error.status == 500
    assert service.num_tries("0") == Limits.max_failures


def test_an_outage_is_not_the_fault_of_a_picture() -> None:
    """The service is away for five minutes: longer than any single picture is tried."""

    async def serve(service: Service, _: str) -> Kosmos2ClientError | None:
        return ConnectionFailed("refused") if 5 < service.now < 305 else None

    lines, service = run(serve, *[f"{number}" for number in range(100)])
    assert len(lines) == 100
    assert all(line.answer for line in lines)
    assert len(service.tries) < 200  # it is probed, not hammered


def test_a_picture_that_cuts_its_connection_is_given_up() -> None:
    """The other pictures show that the service answers."""

    async def serve(_: Service, name: str) -> Kosmos2ClientError | None:
        return ConnectionFailed("reset") if name == "0" else None

    lines, service = run(serve, *[f"{number}" for number in range(300)])
    assert lines[-1].path == "0"
    assert lines[-1].error is not None
    assert lines[-1].error.code == "connection_failed"
    assert service.num_tries("0") == Limits.max_failures


def test_a_run_without_any_answer_stops_and_writes_nothing() -> None:
    async def fail(_: Service, __: str) -> Kosmos2ClientError | None:
        return failure(503, 1.0)

    names, lines = [f"{number}" for number in range(30)], list[Line]()
    with pytest.raises(RunStopped, match="answered nothing for 60 s; the same command"):
        run(fail, *names, limits=Limits(patience_s=60), lines=lines)
    assert lines == []


def test_patience_ends_before_a_longer_retry_after() -> None:
    async def fail(_: Service, __: str) -> Kosmos2ClientError | None:
        return failure(503, 1e6)

    lines, service = run(fail, "a", limits=Limits(patience_s=60))
    assert len(lines) == len(service.tries) == 1
    assert service.ended_at == 60


def test_the_last_pictures_are_written_when_patience_ends() -> None:
    """The run is at its end: every other picture has an answer."""

    async def serve(_: Service, name: str) -> Kosmos2ClientError | None:
        return failure(503, 1.0) if name == "0" else None

    names = [f"{number}" for number in range(10)]
    lines, _ = run(serve, *names, limits=Limits(patience_s=60))
    assert sorted(line.path for line in lines) == names
    assert lines[-1].error is not None
    assert lines[-1].error.status == 503


@pytest.mark.parametrize("error", [failure(401), failure(404), InvalidAnswer("HTML")])
def test_an_error_that_concerns_every_picture_stops_the_run(error: Kosmos2ClientError) -> None:
    """A wrong key must not write a million lines."""

    async def fail(_: Service, __: str) -> Kosmos2ClientError | None:
        return error

    lines: list[Line] = []
    with pytest.raises(RunStopped):
        run(fail, "a", "b", lines=lines)
    assert lines == []


def wrong_fields(code: str = "invalid_request", **messages: str) -> Kosmos2ClientError:
    errors = [{"field": field, "message": message} for field, message in messages.items()]
    return problem_of(422, problem(422, code, "a reason") | {"errors": errors})


@pytest.mark.parametrize(
    "error",
    [
        wrong_fields(confidence="must be at most 1"),
        wrong_fields(task="is unknown", text="is required"),
        wrong_fields(tiles="is no JSON"),
    ],
)
def test_a_request_that_no_picture_can_have_stops_the_run(error: Kosmos2ClientError) -> None:
    """Otherwise a typing mistake in an option would mark every picture as failed."""

    async def refuse(_: Service, __: str) -> Kosmos2ClientError | None:
        return error

    lines: list[Line] = []
    with pytest.raises(RequestRefused, match="a reason; nothing was written for a"):
        run(refuse, "a", "b", lines=lines)
    assert lines == []


@pytest.mark.parametrize(
    "error",
    [
        wrong_fields(image="is empty"),
        wrong_fields("too_many_rows", tiles="make too many rows of this picture"),
        wrong_fields(**{"regions[0].boxes[0]": "is outside the picture"}),
        problem_of(422, problem(422, "invalid_image")),
        problem_of(413, problem(413, "image_too_large")),
    ],
)
def test_a_rejection_that_depends_on_the_picture_is_one_line(error: Kosmos2ClientError) -> None:
    async def reject(_: Service, name: str) -> Kosmos2ClientError | None:
        return error if name == "a" else None

    lines, _ = run(reject, "a", "b")
    assert {line.path: line.error is None for line in lines} == {"a": False, "b": True}


def test_an_outcome_that_cannot_be_written_stops_the_run() -> None:
    """The disk is full."""
    service = Service(succeed)

    def write(_: Line) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        runner = Runner(service, REQUEST, read, write, Pacing(4, clock), clock)
        await runner.run(iter("abcdef"))

    with pytest.raises(OSError, match="No space left"):
        run_in_virtual_time(main())
    assert service.num_running == 0

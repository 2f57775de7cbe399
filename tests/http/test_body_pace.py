"""Slow bodies are read to their end or rejected; the tests run in virtual time."""

import asyncio
from collections.abc import Sequence
from itertools import chain, repeat

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.errors import DeadlineExceeded, Kosmos2Error, RequestTimeout
from app.http.body_pace import MIN_BYTES_PER_S, with_body_pace
from harness.virtual_time import run_in_virtual_time

TIMEOUT_S, DEADLINE_S = 30.0, 120.0


def read(
    pieces: Sequence[int], pause_s: float, *, first_pause_s: float | None = None
) -> int | type[Kosmos2Error]:
    """Return the length of a body with a pause before each piece, or the type of the error.

    Args:
        first_pause_s: the pause before the first piece if it differs; then the body never ends.
    """

    async def main() -> int | type[Kosmos2Error]:
        arriving = iter(pieces)
        pauses = chain([first_pause_s or pause_s], repeat(pause_s))

        async def receive() -> Message:
            await asyncio.sleep(next(pauses))
            size = next(arriving, 0)
            more = size > 0 or first_pause_s is not None
            return {"type": "http.request", "body": bytes(size), "more_body": more}

        clock = asyncio.get_running_loop().time
        request = Request({"type": "http", "headers": []}, receive)
        paced = with_body_pace(request, TIMEOUT_S, clock() + DEADLINE_S, clock)
        try:
            return len(await paced.body())
        except Kosmos2Error as error:
            return type(error)

    return run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("pieces", "pause_s"),
    [
        ([120_000] * 41, 1.0),  # a photo of 4.9 MB at 120 kB/s
        ([50_000] * 3, 29.0),
        ([MIN_BYTES_PER_S] * 110, 1.0),
        ([1] * 20, 1.0),  # slower than the minimum rate, but complete within the timeout
    ],
)
def test_a_steady_body_is_read_to_its_end(pieces: list[int], pause_s: float) -> None:
    assert read(pieces, pause_s) == sum(pieces)


@pytest.mark.parametrize(
    ("pieces", "pause_s", "error"),
    [
        ([120_000], 31.0, RequestTimeout),
        ([1] * 1000, 1.0, RequestTimeout),
        ([MIN_BYTES_PER_S // 2] * 1000, 1.0, RequestTimeout),
        ([1_000_000] + [1] * 1000, 1.0, DeadlineExceeded),
        ([120_000] * 1000, 1.0, DeadlineExceeded),
    ],
)
def test_a_body_that_is_too_slow_is_rejected(
    pieces: list[int], pause_s: float, error: type[Kosmos2Error]
) -> None:
    assert read(pieces, pause_s) is error


def test_a_body_that_stops_is_rejected_however_much_arrived_before() -> None:
    assert read([10_000_000], 29.0, first_pause_s=1.0) is DeadlineExceeded
    assert read([10_000_000], 30.5, first_pause_s=1.0) is RequestTimeout

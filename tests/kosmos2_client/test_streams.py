"""Streams of answers in both clients: their events, and what ends them early."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from harness.scripted_service import FakeTime, Script
from kosmos2_client import (
    ConnectionFailed,
    Done,
    InvalidAnswer,
    NewEntity,
    NewText,
    ServiceFailure,
)
from tests.kosmos2_client.answers import box, entity, grounding, problem
from tests.kosmos2_client.callers import Use


def test_a_stream_yields_text_entities_and_the_whole_answer(use: Use) -> None:
    whole = grounding(entity("a dog", box(0.8)))
    events = [
        ("token", {"text": "a dog"}),
        ("entity", {"index": 0, "entity": whole["entities"][0]}),
        ("unknown", {}),
        ("done", whole),
    ]
    got = use(Script(events), FakeTime(), "ground_stream", b"p", "brief_caption")
    assert [type(event) for event in got] == [NewText, NewEntity, Done]
    assert got[2].result.raw == whole


def test_a_stream_that_is_cut_is_an_error_and_is_not_sent_again(use: Use) -> None:
    """Its first events have been used already."""
    script = Script([("token", {"text": "a"})])
    with pytest.raises(ConnectionFailed, match="before the answer was complete"):
        use(script, FakeTime(), "ground_stream", b"p", "brief_caption")
    assert len(script.requests) == 1


class BrokenStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer whose connection is lost after its first bytes."""

    def __iter__(self) -> Iterator[bytes]:
        yield b": ping\n\n"
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in self:
            yield data


def test_a_stream_whose_connection_is_lost_is_an_error_of_the_client(use: Use) -> None:
    """Not one of httpx."""
    headers = {"Content-Type": "text/event-stream"}
    script = Script(httpx.Response(200, headers=headers, stream=BrokenStream()))
    with pytest.raises(ConnectionFailed, match="reset"):
        use(script, FakeTime(), "ground_stream", b"p", "brief_caption")
    assert len(script.requests) == 1


def test_an_error_event_is_raised_as_the_error_it_is(use: Use) -> None:
    events = [("token", {"text": "a"}), ("error", problem(500, "engine_failure"))]
    with pytest.raises(ServiceFailure, match="engine_failure"):
        use(Script(events), FakeTime(), "ground_stream", b"p", "brief_caption")


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("text/html", b"<html>"),
        ("application/json", b"{}"),
        ("text/event-stream", b'event: token\ndata: {"text": "\xff"}\n\n'),
    ],
)
def test_a_stream_of_another_program_is_an_error(use: Use, media_type: str, content: bytes) -> None:
    headers = {"Content-Type": media_type}
    with pytest.raises(InvalidAnswer):
        use(Script((content, headers)), FakeTime(), "ground_stream", b"p", "brief_caption")


def test_a_stream_is_requested_again_before_its_first_event(use: Use) -> None:
    script = Script(problem(503, "overloaded"), [("done", grounding())])
    got = use(script, FakeTime(), "ground_stream", b"p", "brief_caption")
    assert [type(event) for event in got] == [Done]

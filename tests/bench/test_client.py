"""The load generator's client, with a working service and with broken ones."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.bench.client import load_client
from app.bench.loops import Bounds, closed_loop
from app.bench.results import Reply, Sample
from app.bench.workload import LoadRequest, embedded_scenes
from harness.service import RunningService

REQUEST = LoadRequest(embedded_scenes()[0], {"task": "phrase_grounding", "text": "a red circle"})

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "
ANSWERS_OF_BROKEN_SERVICES = {
    "connection_failed": b"",
    "http_500": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    "malformed_answer": HEAD + b"application/json\r\nContent-Length: 2\r\n\r\nno",
    "stream_cut": HEAD + b'text/event-stream\r\n\r\nevent: token\ndata: {"text": "An"}\n\n',
    "engine_failure": HEAD
    + b'text/event-stream\r\n\r\nevent: error\ndata: {"code": "engine_failure"}\n\n',
}


def send(url: str, request: LoadRequest, *, is_streaming: bool = False) -> Sample:
    """Send one request as a load."""

    async def run() -> list[Sample]:
        async with load_client(url, is_streaming=is_streaming) as client:
            return await closed_loop(client.send, [request], 1, Bounds(num_requests=1))

    (sample,) = asyncio.run(run())
    return sample


async def send_to_a_server_that_answers(answer: bytes) -> Reply:
    """Send one request to a server that answers every request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, load_client(_url_of(server)) as client:
        return await client.send(LoadRequest(b"", {"task": "raw"}))


def _url_of(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_sample_has_the_answer_and_its_usage(service: RunningService) -> None:
    """Benchmarks compare the answers, since a fast but wrong answer is worthless."""
    sample = send(service.url, REQUEST)
    assert sample.is_good
    assert sample.reply.answer is not None
    assert sample.reply.answer["markup"].startswith("<grounding><phrase> a red circle</phrase>")
    assert sample.reply.request_id == sample.reply.answer["id"]
    assert sample.count("completion_tokens") > 0
    assert sample.time_to_first_token_s is None


def test_a_stream_returns_the_same_answer_and_the_time_of_its_first_event(
    service: RunningService,
) -> None:
    """The first event arrives before the answer is complete."""
    whole, streamed = (send(service.url, REQUEST, is_streaming=s) for s in (False, True))
    assert streamed.is_good
    assert _markup(streamed) == _markup(whole)
    assert streamed.time_to_first_token_s is not None
    assert 0 < streamed.time_to_first_token_s < streamed.latency_s


def _markup(sample: Sample) -> object:
    assert sample.reply.answer is not None
    return sample.reply.answer["markup"]


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (lambda request: replace(request, picture=b"no picture"), 422, "invalid_image"),
        (lambda request: replace(request, picture=b"x" * 300_000), 413, "payload_too_large"),
        (lambda request: replace(request, fields={"task": "sing"}), 422, "invalid_request"),
    ],
)
def test_a_rejection_is_reported_with_its_code(
    service: RunningService,
    spoil: Callable[[LoadRequest], LoadRequest],
    status: int,
    code: str,
    is_streaming: bool,
) -> None:
    """The status alone does not distinguish a full service from a broken one."""
    reply = send(service.url, spoil(REQUEST), is_streaming=is_streaming).reply
    assert (reply.status, reply.code, reply.answer) == (status, code, None)
    assert reply.request_id is not None


@pytest.mark.parametrize("code", ANSWERS_OF_BROKEN_SERVICES)
def test_the_answer_of_a_broken_service_is_a_failed_reply(code: str) -> None:
    """A load must survive its service, which chaos tests kill."""
    reply = asyncio.run(send_to_a_server_that_answers(ANSWERS_OF_BROKEN_SERVICES[code]))
    assert (reply.code, reply.answer) == (code, None)


def test_a_missing_service_is_a_failed_reply() -> None:
    """No program listens at port 9 of the loopback address."""
    reply = send("http://127.0.0.1:9", REQUEST).reply
    assert (reply.status, reply.code) == (0, "connection_failed")

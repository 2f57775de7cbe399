"""Requests that are sent before the answers to earlier ones are answered in order."""

import re

import pytest

from app.http.protocol import MAX_PIPELINED
from harness.events import read_events
from harness.service import RunningService
from harness.wire import open_connection, request
from tests.service.test_upgrades import FORM_BODY

FORM = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(FORM_BODY)}")
CAPTION = request("POST", "/v1/ground", *FORM, body=FORM_BODY)
STREAM = request("POST", "/v1/ground", *FORM, "Accept: text/event-stream", body=FORM_BODY)
CHUNKED = ("Transfer-Encoding: chunked",)
HEALTH = request("GET", "/livez")
STATUS = re.compile(rb"HTTP/1.1 (\d+)")
REJECTED = {
    "not HTTP": (b"hello\r\n\r\n", 400),
    "headers over the limit": (request("GET", "/livez", "X: " + "a" * 40_000), 431),
    "a wrong chunk": (request("POST", "/v1/ground", *CHUNKED, body=b"zz\r\n"), 400),
    "a wrong chunk after a waiting request": (
        HEALTH + request("POST", "/v1/ground", *CHUNKED, body=b"zz\r\n"),
        400,
    ),
}


def received_from(service: RunningService, *parts: bytes) -> bytes:
    """Send parts, the second after the first bytes of an answer; return all bytes received."""
    first, *others = parts
    with open_connection(service.url) as connection:
        connection.sendall(first)
        received = connection.recv(65536) if others else b""
        for part in others:
            connection.sendall(part)
        while data := connection.recv(65536):
            received += data
    return received


def statuses_of(received: bytes) -> list[int]:
    return [int(status) for status in STATUS.findall(received)]


@pytest.mark.parametrize("name", REJECTED)
def test_a_rejected_request_is_answered_after_the_requests_before_it(
    service: RunningService, name: str
) -> None:
    """A client takes the first answer for that to its first request."""
    sent, status = REJECTED[name]
    *answers, rejection = statuses_of(received_from(service, CAPTION + sent))
    assert answers == [200] * (1 + sent.count(HEALTH))
    assert rejection == status


def test_a_rejected_request_does_not_end_a_stream_before_it(service: RunningService) -> None:
    """Its rejection must not become a part of the stream."""
    received = received_from(service, STREAM + HEALTH, b"hello\r\n\r\n")
    assert statuses_of(received) == [200, 200, 400]
    body = received.partition(b"\r\n\r\n")[2].partition(b"0\r\n\r\nHTTP/1.1")[0]
    lines = [line for line in body.decode().splitlines() if not re.fullmatch("[0-9a-f]+", line)]
    assert list(read_events(lines))[-1].name == "done"


def test_an_answered_request_gets_no_second_answer(service: RunningService) -> None:
    """The client would take it for the answer to its next request."""
    refused = request("POST", "/nowhere", *CHUNKED)
    assert statuses_of(received_from(service, refused, b"zz\r\n")) == [404]


def test_the_number_of_pipelined_requests_is_limited(service: RunningService) -> None:
    """A waiting request occupies a hundred times the memory of its bytes."""
    *answers, rejection = statuses_of(received_from(service, HEALTH * 5000))
    assert answers == [200] * (1 + MAX_PIPELINED)
    assert rejection == 400


def test_headers_that_begin_with_the_end_of_a_request_time_out(
    short_timeouts: RunningService,
) -> None:
    received = received_from(short_timeouts, HEALTH + b"GET /livez HTTP/1.1\r\nX-Slow: ")
    assert statuses_of(received) == [200, 408]


def test_a_trailer_cannot_end_the_connection_for_the_parser_alone(
    service: RunningService,
) -> None:
    """The parser would ignore the next requests, and the client would wait for their answers."""
    body = b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"
    received = received_from(service, request("POST", "/v1/ground", *CHUNKED, body=body) + HEALTH)
    assert statuses_of(received) == [400]

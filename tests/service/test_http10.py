"""HTTP/1.0 clients get neither chunks nor interim responses."""

import json

import pytest

from harness.events import read_events
from harness.service import RunningService
from harness.wire import open_connection, request
from tests.service.test_upgrades import FORM_BODY

FORM = "Content-Type: multipart/form-data; boundary=x"


def answer_to(service: RunningService, sent: bytes) -> tuple[bytes, bytes]:
    """Return head and body of the answer, whose end is the end of the connection."""
    received = b""
    with open_connection(service.url) as connection:
        connection.sendall(sent.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        while data := connection.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("connection_token", ["keep-alive", "close"])
def test_a_stream_is_sent_without_chunks(service: RunningService, connection_token: str) -> None:
    headers = (FORM, "Accept: text/event-stream", f"Content-Length: {len(FORM_BODY)}")
    sent = request(
        "POST", "/v1/ground", *headers, f"Connection: {connection_token}", body=FORM_BODY
    )
    head, body = answer_to(service, sent)
    assert b"200 ok" in head
    assert b"transfer-encoding" not in head
    *tokens, done = read_events(body.decode().splitlines())
    assert done.name == "done"
    assert tokens
    assert json.loads(done.json_text)["answer"]


def test_an_answer_with_a_length_keeps_its_content_length(service: RunningService) -> None:
    head, body = answer_to(service, request("GET", "/livez"))
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body) == {"status": "alive"}


def test_no_interim_response_is_sent(service: RunningService) -> None:
    """RFC 9110, section 10.1.1."""
    headers = (FORM, "Expect: 100-continue", f"Content-Length: {len(FORM_BODY)}")
    head, body = answer_to(service, request("POST", "/v1/ground", *headers, body=FORM_BODY))
    assert head.startswith(b"http/1.1 200")
    assert json.loads(body)["answer"]

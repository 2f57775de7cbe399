"""A request with `Upgrade` is answered in HTTP/1.1, and its body is not read as a request."""

import base64
import json
from itertools import pairwise

import pytest

from harness.service import RunningService
from harness.wire import Reply, open_connection, receive, request
from tests.service.test_ground import PICTURE

UPGRADES = {
    "curl": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "Java": ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAA"),
    "WebSocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    "any case": ("connection: UPGRADE", "uPGRADE: TLS/1.0, anything"),
    "two headers": ("Connection: keep-alive", "Connection: upgrade", "Upgrade: a", "Upgrade: b"),
}
HEALTH = request("GET", "/livez")
SMUGGLED = request("GET", "/version")
JSON_BODY = json.dumps(
    {
        "image": {"base64": base64.b64encode(PICTURE).decode()},
        "task": "brief_caption",
        "max_new_tokens": 2,
    }
).encode()
FORM_BODY = (
    b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\nbrief_caption\r\n'
    b'--x\r\nContent-Disposition: form-data; name="max_new_tokens"\r\n\r\n2\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    + PICTURE
    + b"\r\n--x--\r\n"
)
BODIES = {
    "application/json": JSON_BODY,
    "multipart/form-data; boundary=x": FORM_BODY,
}


def chunked(body: bytes) -> bytes:
    middle = len(body) // 2
    parts = (body[:middle], body[middle:], b"")
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def answers_to(service: RunningService, *parts: bytes) -> list[int]:
    """Return the statuses of all answers on one connection, which the last request closes."""
    received = b""
    with open_connection(service.url) as connection:
        for part in parts:
            connection.sendall(part)
        while data := connection.recv(65536):
            received += data
    return [int(answer[:3]) for answer in received.split(b"HTTP/1.1 ")[1:]]


def reply_in_pieces(service: RunningService, sent: bytes, cuts: list[int]) -> Reply:
    with open_connection(service.url) as connection:
        for start, end in pairwise([0, *cuts, len(sent)]):
            connection.sendall(sent[start:end])
            # When this other request is answered, the service has read the piece.
            with open_connection(service.url) as other:
                other.sendall(HEALTH)
                receive(other)
        return receive(connection)


@pytest.mark.parametrize("content_type", BODIES)
@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_body_of_a_request_with_upgrade_is_read(
    service: RunningService, upgrade: str, content_type: str, is_chunked: bool
) -> None:
    body = BODIES[content_type]
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    headers = (f"Content-Type: {content_type}", *UPGRADES[upgrade], length)
    sent = request("POST", "/v1/ground", *headers, body=chunked(body) if is_chunked else body)
    with open_connection(service.url) as connection:
        connection.sendall(sent)
        assert receive(connection).status == 200
        connection.sendall(sent)
        assert receive(connection).status == 200


@pytest.mark.parametrize("connection_token", ["Upgrade", "close, Upgrade"])
def test_a_body_that_arrives_after_headers_with_upgrade_is_read(
    service: RunningService, connection_token: str
) -> None:
    upgrade = (f"Connection: {connection_token}", "Upgrade: h2c")
    headers = ("Content-Type: application/json", *upgrade, f"Content-Length: {len(JSON_BODY)}")
    head = request("POST", "/v1/ground", *headers)
    cuts = [len(head) - 1, len(head), len(head) + 10]
    assert reply_in_pieces(service, head + JSON_BODY, cuts).status == 200


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("arrives_later", [False, True])
def test_the_body_of_a_request_with_upgrade_is_never_read_as_a_request(
    service: RunningService, upgrade: str, arrives_later: bool
) -> None:
    """Behind a proxy that reuses connections, another client would receive its answer."""
    headers = (*UPGRADES[upgrade], "Content-Type: application/json")
    head = request("POST", "/v1/ground", *headers, f"Content-Length: {len(SMUGGLED)}")
    last = request("GET", "/livez", "Connection: close")
    parts = (head, SMUGGLED, last) if arrives_later else (head + SMUGGLED + last,)
    assert answers_to(service, *parts) == [400, 200]


def test_requests_with_upgrade_can_be_pipelined(service: RunningService) -> None:
    upgrading = request("GET", "/livez", *UPGRADES["curl"])
    body = request("POST", "/nowhere", *UPGRADES["Java"], "Content-Length: 5", body=b"12345")
    last = request("GET", "/version", *UPGRADES["WebSocket"][1:], "Connection: close, upgrade")
    assert answers_to(service, upgrading + body + HEALTH + upgrading + last) == [
        200,
        404,
        200,
        200,
        200,
    ]


def test_no_request_is_answered_after_connection_close(service: RunningService) -> None:
    last = request("GET", "/livez", "Connection: close, Upgrade", "Upgrade: h2c")
    assert answers_to(service, last + HEALTH) == [200]


@pytest.mark.parametrize(
    "lengths",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip"],
    ],
)
def test_upgrade_does_not_hide_a_second_length(service: RunningService, lengths: list[str]) -> None:
    headers = ("Connection: Upgrade, close", "Upgrade: h2c", *lengths)
    assert answers_to(service, request("POST", "/v1/ground", *headers, body=b"12345")) == [400]


def test_connect_is_rejected(service: RunningService) -> None:
    tunnel = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    assert answers_to(service, tunnel + HEALTH) == [400]

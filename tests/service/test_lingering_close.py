"""The end of a connection whose request was answered before its body was complete."""

import select
import socket

import pytest

from harness.service import RunningService
from harness.waiting import eventually
from harness.wire import is_closed, open_connection, receive, request, send_slowly

FORM = "Content-Type: multipart/form-data; boundary=x"
HEALTH = request("GET", "/livez")
TCP_ESTABLISHED = 1  # of Linux' tcp_states.h


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request("POST", "/v1/ground", FORM, "Content-Length: 100000"), 401),
        (request("POST", "/livez", "Content-Length: 100000"), 405),
        (request("GET", "/livez", "Content-Length: 100000"), 200),
        (request("POST", "/nowhere", "Transfer-Encoding: chunked"), 401),
    ],
)
def test_the_rest_of_an_answered_body_does_not_hold_the_connection(
    short_timeouts: RunningService, head: bytes, status: int
) -> None:
    """The rest is read and discarded for a limited time, so that the client sees the answer."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head)
        assert receive(connection).status == status
        assert send_slowly(connection, b"1\r\na\r\n" * 500)
        assert is_closed(connection)


def test_a_connection_is_reused_after_a_discarded_body(
    short_timeouts: RunningService,
) -> None:
    """It waits for the next request for a limited time, like any other."""
    refused = request("POST", "/v1/ground", FORM, "Content-Length: 5")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(refused)
        assert receive(connection).status == 401
        connection.sendall(b"12345" + HEALTH)
        assert receive(connection).status == 200
        connection.sendall(refused)
        assert receive(connection).status == 401
        connection.sendall(b"12345")
        assert is_closed(connection)


@pytest.mark.parametrize("connection_header", ["keep-alive", "close"])
def test_a_client_that_sends_too_much_receives_the_answer(
    short_timeouts: RunningService, connection_header: str
) -> None:
    """Even with `Connection: close`: closing at once would make the client lose the answer."""
    headers = ("Authorization: Bearer key", "Content-Length: 300000")
    head = request("POST", "/v1/ground", *headers, f"Connection: {connection_header}")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head + bytes(100_000))
        assert select.select([connection], [], [], 30)[0]  # the answer has arrived
        connection.sendall(bytes(200_000))
        assert receive(connection).content["code"] == "payload_too_large"


def accepts_bytes(connection: socket.socket) -> bool:
    """Send a byte and return whether the service has not reset the connection."""
    try:
        connection.sendall(b"a")
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (
            request("POST", "/v1/ground", "Authorization: Bearer key", FORM, "Content-Length: 99"),
            408,
        ),
        (b"GET /livez HTTP/1.1\r\nX-Slow: ", 408),
        (b"hello\r\n\r\n", 400),
    ],
    ids=["body", "headers", "not HTTP"],
)
def test_a_rejected_client_that_still_sends_receives_the_answer(
    short_timeouts: RunningService, head: bytes, status: int
) -> None:
    """A reset of the connection would discard the unread answer."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head)
        assert receive(connection).content["status"] == status
        assert is_closed(connection)
        assert all(accepts_bytes(connection) for _ in range(20))


def is_lingering(connection: socket.socket) -> bool:
    """Return whether the service has closed its direction, without reading the answer."""
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != TCP_ESTABLISHED


def test_a_client_that_reads_only_after_sending_receives_the_rejection(
    short_timeouts: RunningService,
) -> None:
    """Most clients read nothing until they have sent everything."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(request("POST", "/v1/ground", FORM, "Content-Length: 100000"))
        assert eventually(lambda: is_lingering(connection))
        assert all(accepts_bytes(connection) for _ in range(20))
        assert receive(connection).status == 401
        assert eventually(lambda: not accepts_bytes(connection))


@pytest.mark.parametrize("head", [b"hello\r\n\r\n", b"GET /livez HTTP/1.1\r\nX-Slow: "])
def test_a_rejected_client_may_send_only_for_a_limited_time(
    short_timeouts: RunningService, head: bytes
) -> None:
    """The limit is `body_timeout_s`."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head)
        assert receive(connection).status in {400, 408}
        assert eventually(lambda: not accepts_bytes(connection))


def test_a_discarded_body_may_be_larger_than_any_that_is_accepted(
    short_timeouts: RunningService,
) -> None:
    """A proxy that is reset while it sends reports 502 instead of the answer."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(request("POST", "/v1/ground", "Content-Length: 20000000"))
        connection.sendall(bytes(20_000_000))
        assert receive(connection).status == 401


def test_a_request_after_the_end_of_answers_is_not_served(short_timeouts: RunningService) -> None:
    """No client would get its answer."""
    unserved = request("GET", "/v1/tasks", "Authorization: Bearer key", "X-Request-ID: unserved")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(request("POST", "/v1/ground", FORM, "Content-Length: 5"))
        assert receive(connection).status == 401
        assert is_closed(connection)
        connection.sendall(b"12345" + unserved)
        assert eventually(lambda: not accepts_bytes(connection))
    assert not any("unserved" in line for line in short_timeouts.log)


def test_the_size_of_a_discarded_body_is_limited(short_timeouts: RunningService) -> None:
    """The framing of chunks counts as well."""
    head = request("POST", "/v1/ground", "Content-Length: 1000000000")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head)
        with pytest.raises(ConnectionError):
            connection.sendall(bytes(100_000_000))

"""How a connection ends whose request was answered before its body had come."""

import select
import socket

import pytest

from harness.service import RunningService
from harness.waiting import eventually
from harness.wire import connected, dribble, is_closed, receive, request

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
def test_what_is_left_of_an_answered_body_holds_no_connection(
    impatient: RunningService, head: bytes, status: int
) -> None:
    """Read and thrown away for a while, so that clients which send on see the answer."""
    with connected(impatient.url) as connection:
        connection.sendall(head)
        assert receive(connection).status == status
        assert dribble(connection, b"1\r\na\r\n" * 500)
        assert is_closed(connection)


def test_a_connection_whose_body_was_thrown_away_is_kept_for_a_while(
    impatient: RunningService,
) -> None:
    """Like any other: for the next request, but not for ever."""
    refused = request("POST", "/v1/ground", FORM, "Content-Length: 5")
    with connected(impatient.url) as connection:
        connection.sendall(refused)
        assert receive(connection).status == 401
        connection.sendall(b"12345" + HEALTH)
        assert receive(connection).status == 200
        connection.sendall(refused)
        assert receive(connection).status == 401
        connection.sendall(b"12345")
        assert is_closed(connection)


@pytest.mark.parametrize("connection_header", ["keep-alive", "close"])
def test_a_client_that_sends_more_than_it_may_sees_the_answer(
    impatient: RunningService, connection_header: str
) -> None:
    """Also where the answer is the connection's last: closed at once, it would take it back."""
    headers = ("Authorization: Bearer key", "Content-Length: 300000")
    head = request("POST", "/v1/ground", *headers, f"Connection: {connection_header}")
    with connected(impatient.url) as connection:
        connection.sendall(head + bytes(100_000))
        assert select.select([connection], [], [], 30)[0]  # answered meanwhile
        connection.sendall(bytes(200_000))
        assert receive(connection).content["code"] == "payload_too_large"


def may_send(connection: socket.socket) -> bool:
    """Whether the other side still reads, or at least has not said otherwise yet."""
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
def test_a_client_that_still_sends_when_it_is_refused_sees_the_answer(
    impatient: RunningService, head: bytes, status: int
) -> None:
    """Reset by the system, its connection would drop what it has not read."""
    with connected(impatient.url) as connection:
        connection.sendall(head)
        assert receive(connection).content["status"] == status
        assert is_closed(connection)
        assert all(may_send(connection) for _ in range(20))


def has_been_parted_from(connection: socket.socket) -> bool:
    """Whether the other side says no more; told without reading what it has said."""
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != TCP_ESTABLISHED


def test_a_client_that_sends_for_longer_than_it_may_still_sees_why_it_was_refused(
    impatient: RunningService,
) -> None:
    """Most clients read nothing until all is sent: time is up, but the answer is not lost."""
    with connected(impatient.url) as connection:
        connection.sendall(request("POST", "/v1/ground", FORM, "Content-Length: 100000"))
        assert eventually(lambda: has_been_parted_from(connection))
        assert all(may_send(connection) for _ in range(20))
        assert receive(connection).status == 401
        assert eventually(lambda: not may_send(connection))


@pytest.mark.parametrize("head", [b"hello\r\n\r\n", b"GET /livez HTTP/1.1\r\nX-Slow: "])
def test_a_refused_client_may_not_send_for_ever(impatient: RunningService, head: bytes) -> None:
    """It is read for as long as a body is, then no more."""
    with connected(impatient.url) as connection:
        connection.sendall(head)
        assert receive(connection).status in {400, 408}
        assert eventually(lambda: not may_send(connection))


def test_a_body_is_not_thrown_away_for_ever(impatient: RunningService) -> None:
    """Nor does its framing count for nothing."""
    head = request("POST", "/v1/ground", "Content-Length: 1000000000")
    with connected(impatient.url) as connection:
        connection.sendall(head)
        with pytest.raises(ConnectionError):
            connection.sendall(bytes(100_000_000))

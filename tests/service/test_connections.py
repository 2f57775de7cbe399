"""Stalled connections are closed, and bytes that are not HTTP are answered with a problem."""

import socket
from time import monotonic

import psutil
import pytest

from app.http.heads import MAX_HEADER_BYTES
from app.http.protocol import MAX_PIPELINED
from harness.formats import file_of
from harness.pictures import noise
from harness.service import RunningService
from harness.waiting import eventually
from harness.wire import Reply, is_closed, open_connection, receive, request, send_slowly
from tests.service.test_upgrades import FORM_BODY

FORM = "Content-Type: multipart/form-data; boundary=x"
HEALTH = request("GET", "/livez")


def answer_to(service: RunningService, *parts: bytes) -> Reply:
    """Send parts without pauses and return the first reply."""
    with open_connection(service.url) as connection:
        for part in parts:
            connection.sendall(part)
        return receive(connection)


def is_problem(reply: Reply, status: int, code: str) -> bool:
    """Return whether a reply is a problem like the application's, and closes the connection."""
    return (
        reply.status == status
        and b"content-type: application/problem+json" in reply.head
        and b"connection: close" in reply.head
        and reply.content["code"] == code
        and reply.content["request_id"].encode() in reply.head
    )


def test_headers_that_never_end_time_out(short_timeouts: RunningService) -> None:
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert is_problem(receive(connection), 408, "request_timeout")
        assert is_closed(connection)


def test_single_bytes_do_not_extend_the_time_limit_of_headers(
    short_timeouts: RunningService,
) -> None:
    began = monotonic()
    with open_connection(short_timeouts.url) as connection:
        assert send_slowly(connection, b"GET /livez HTTP/1.1\r\nX-Slow: " + b"a" * 1000)
        assert is_problem(receive(connection), 408, "request_timeout")
    assert monotonic() - began < 30


def test_the_headers_of_later_requests_time_out_too(short_timeouts: RunningService) -> None:
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(HEALTH)
        assert receive(connection).status == 200
        assert send_slowly(connection, b"GET /livez HTTP/1.1\r\nX-Slow: " + b"a" * 1000)
        assert is_problem(receive(connection), 408, "request_timeout")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_without_a_request_is_closed(
    short_timeouts: RunningService, sent: bytes
) -> None:
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(sent)
        assert receive(connection).status in {0, 408}


def test_empty_lines_do_not_extend_the_time_limit(short_timeouts: RunningService) -> None:
    with open_connection(short_timeouts.url) as connection:
        assert send_slowly(connection, b"\r\n" * 500)


def test_an_idle_connection_is_closed_without_an_answer(short_timeouts: RunningService) -> None:
    """The client could mistake a late answer for the answer to its next request."""
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(HEALTH)
        assert receive(connection).status == 200
        assert is_closed(connection)


def test_a_connection_serves_several_requests(short_timeouts: RunningService) -> None:
    with open_connection(short_timeouts.url) as connection:
        for _ in range(5):
            connection.sendall(HEALTH)
            assert receive(connection).status == 200


def test_a_body_that_never_ends_times_out(short_timeouts: RunningService) -> None:
    head = request("POST", "/v1/ground", "Authorization: Bearer key", FORM, "Content-Length: 500")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head + b"--x")
        assert is_problem(receive(connection), 408, "request_timeout")
        assert is_closed(connection)


def test_a_slow_but_steady_body_is_read(short_timeouts: RunningService) -> None:
    """On a weak uplink, a photo takes longer than the longest pause that is allowed."""
    headers = ("Authorization: Bearer key", FORM, f"Content-Length: {len(FORM_BODY)}")
    began = monotonic()
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(request("POST", "/v1/ground", *headers))
        assert not send_slowly(connection, FORM_BODY, num_bytes=len(FORM_BODY) // 40)
        assert receive(connection).status == 200
    assert monotonic() - began > 1.5


def test_a_body_of_single_bytes_times_out(short_timeouts: RunningService) -> None:
    """It never pauses, but is below the minimum rate."""
    head = request("POST", "/v1/ground", "Authorization: Bearer key", FORM, "Content-Length: 5000")
    with open_connection(short_timeouts.url) as connection:
        connection.sendall(head)
        assert send_slowly(connection, FORM_BODY.ljust(5000))
        assert is_problem(receive(connection), 408, "request_timeout")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * (MAX_HEADER_BYTES + 1),
        request("GET", "/livez", "X: " + "a" * MAX_HEADER_BYTES),
        request("GET", "/livez", *[f"X-{number}: a" for number in range(4000)]),
        request("GET", "/" + "a" * MAX_HEADER_BYTES),
        request("GET", "/livez?" + "a" * MAX_HEADER_BYTES),
    ],
)
def test_headers_over_the_limit_are_rejected(short_timeouts: RunningService, sent: bytes) -> None:
    assert is_problem(answer_to(short_timeouts, sent), 431, "headers_too_large")


def test_headers_within_the_limit_are_accepted(short_timeouts: RunningService) -> None:
    sent = request("GET", "/livez", "X: " + "a" * (MAX_HEADER_BYTES - 100))
    assert answer_to(short_timeouts, sent).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 20,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"hello\r\n\r\n",
        request("BREW", "/livez"),
        request("GET", "/\xff"),
        request("GET", "http://[::1/"),
        request("GET", "/metrics#a"),
        request("GET", "/metrics?#a"),
        request("GET", "/livez", "X: \0"),
        request("GET", "/livez", "X\r: a"),
        b"GET /livez HTTP/3.7\r\n\r\n",
        b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/0.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        request("GET", "/livez", "Host: y"),
        *(
            request("POST", "/v1/tasks", *lengths, body=b"zz\r\n{}\r\n0\r\n\r\n")
            for lengths in (
                ["Content-Length: -1"],
                ["Content-Length: +5"],
                ["Content-Length: 0x5"],
                ["Content-Length: five"],
                ["Content-Length: " + "9" * 30],
                ["Content-Length: 5", "Content-Length: 6"],
                ["Content-Length: 5", "Content-Length: 5"],
                ["Content-Length: 5", "Transfer-Encoding: chunked"],
                ["Transfer-Encoding: gzip"],
                ["Transfer-Encoding: gzip, chunked"],
                ["Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
                ["Transfer-Encoding: chunked"],
            )
        ),
    ],
)
def test_bytes_that_are_not_http_are_rejected(short_timeouts: RunningService, sent: bytes) -> None:
    """Above all two lengths: one server would read as a request what another reads as a body."""
    assert is_problem(answer_to(short_timeouts, sent), 400, "malformed_request")


@pytest.mark.parametrize("target", ["http://x", "http://x/", "HTTP://x?a=b"])
def test_a_whole_url_without_a_path_means_the_root(
    short_timeouts: RunningService, target: str
) -> None:
    """Clients of proxies send whole URLs, and RFC 9112 requires servers to accept them."""
    sent = request("GET", target, "Connection: close")
    assert answer_to(short_timeouts, sent).content["code"] == "unauthorized"


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "nothing"])
def test_requests_to_upgrade_are_answered_in_http(
    short_timeouts: RunningService, protocol: str
) -> None:
    """Another protocol must not bypass the API keys."""
    upgrade = ("Connection: Upgrade", f"Upgrade: {protocol}", "Sec-WebSocket-Version: 13")
    assert answer_to(short_timeouts, request("GET", "/livez", *upgrade)).status == 200
    assert answer_to(short_timeouts, request("GET", "/v1/tasks", *upgrade)).status == 401


def test_the_connection_of_a_client_that_reads_nothing_is_closed(
    short_timeouts: RunningService,
) -> None:
    """Its answer occupies memory until then."""
    picture = file_of(noise((400, 300)), "JPEG", quality=95)
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture
    body += b'\r\n--x\r\nContent-Disposition: form-data; name="entities"\r\n\r\n[]\r\n--x--\r\n'
    headers = ("Authorization: Bearer key", FORM, f"Content-Length: {len(body)}")

    def is_held(port: int) -> bool:
        processes = psutil.Process(short_timeouts.process.pid).children(recursive=True)
        ends = [end for process in processes for end in process.net_connections("tcp4")]
        return any(end.raddr and end.raddr.port == port for end in ends)

    with open_connection(short_timeouts.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = connection.getsockname()[1]
        # Before the requests: on a busy machine they take longer than the time limit of one second.
        assert eventually(lambda: is_held(port))
        for _ in range(MAX_PIPELINED):  # more answers than the system buffers for it
            connection.sendall(request("POST", "/v1/annotate", *headers, body=body))
        assert eventually(lambda: not is_held(port))

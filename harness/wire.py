"""HTTP over raw sockets, for requests that no correct client sends."""

import json
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """A response, possibly incomplete.

    Attributes:
        status: of the response; 0 if the connection was closed without one.
        head: status line and headers, lower case.
    """

    status: int
    head: bytes
    body: bytes

    @property
    def content(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


@contextmanager
def open_connection(url: str, timeout_s: float = 60) -> Iterator[socket.socket]:
    """Open a connection to a service for the duration of the block."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout_s) as connection:
        yield connection


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request; the only header added is `Host`."""
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: x", *headers))
    # Tests send bytes above 127, which this encoding keeps as they are.
    return head.encode("latin-1") + b"\r\n" + body


def receive(connection: socket.socket) -> Reply:
    """Return the next response, or the part that arrived before the connection was closed."""
    received = b""
    while not _is_complete(received):
        try:
            part = connection.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            break
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    # The status follows `HTTP/1.1 `.
    return Reply(int(head[9:12]) if head else 0, head.lower(), body)


def send_slowly(
    connection: socket.socket, data: bytes, pause_s: float = 0.05, num_bytes: int = 1
) -> bool:
    """Send `num_bytes` at a time with pauses; return whether an answer arrived before the end."""
    for number in range(0, len(data), num_bytes):
        if select.select([connection], [], [], pause_s)[0]:
            return True
        try:
            connection.sendall(data[number : number + num_bytes])
        except ConnectionError:
            return True
    return False


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side closes the connection without more bytes before the timeout."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def _is_complete(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    # `partition` removed the line end that the pattern needs.
    length = _LENGTH.search(head + b"\r\n")
    return bool(end) and length is not None and len(body) >= int(length[1])

"""A replica that is ready, and dies of every request."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

from harness.serving import serving

RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class _Handler(BaseRequestHandler):
    """Answers health checks alone."""

    def handle(self) -> None:
        if self.request.recv(65536).startswith(b"GET /readyz "):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)


class _Server(TCPServer):
    """Closes connections as the system does for one that was killed, without a last word."""

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)


@contextmanager
def dying_replica() -> Iterator[str]:
    """Its address, host and port, for as long as the block lasts."""
    with serving(_Server(("127.0.0.1", 0), _Handler)) as address:
        yield address

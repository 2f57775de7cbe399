"""A replica that reports ready but dies on every request."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

from harness.standard_servers import running_server

# Lingering on, for 0 seconds: closing then resets the connection.
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class _Handler(BaseRequestHandler):
    """Answers health checks only."""

    def handle(self) -> None:
        if self.request.recv(65536).startswith(b"GET /readyz "):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)


class _Server(TCPServer):
    """Closes connections without shutdown, as the system does for a killed process."""

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)


@contextmanager
def dying_replica() -> Iterator[str]:
    """Run the replica for the duration of the block and yield its host and port."""
    with running_server(_Server(("127.0.0.1", 0), _Handler)) as address:
        yield address

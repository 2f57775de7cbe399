"""Runs a server of the standard library in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer


@contextmanager
def running_server(server: TCPServer) -> Iterator[str]:
    """Run a server for the duration of the block and yield its host and port.

    Args:
        server: bound to the loopback; it is closed at the end.
    """
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

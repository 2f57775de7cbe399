"""Aborts a connection whose client reads nothing of an answer for a limited time."""

import asyncio


class WriteTimeout:
    """The time limit of a connection on which the service waits until it can write.

    Args:
        timeout_s: the client may pause this long, seconds.
    """

    def __init__(self, transport: asyncio.Transport, timeout_s: float) -> None:
        self._transport, self._timeout_s = transport, timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time limit: the client reads more slowly than the service writes."""
        self.stop()
        before = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout_s, self._on_timeout, before)

    def stop(self) -> None:
        """Stop the time limit: the client has caught up, or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self, num_bytes_before: int) -> None:
        """Abort the connection if the client has read nothing; otherwise start the timer again."""
        if self._transport.get_write_buffer_size() < num_bytes_before:
            self.start()
        else:
            self._transport.abort()

"""Limits the connections of an HTTP process: the one that has been idle longest makes room."""

import asyncio
import resource

_RESERVED_DESCRIPTORS = 128
"""For the engine's socket, pipes to picture processes, and files."""

_MAX_DESCRIPTORS = 65_536
"""More is never needed, and some systems allow a billion, for which programs reserve tables."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard limit; return the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(soft, wanted)


def max_connections_of(num_descriptors: int) -> int:
    """Return how many connections a process with so many descriptors may hold.

    >>> max_connections_of(1024), max_connections_of(64)
    (896, 16)
    """
    return max(num_descriptors - _RESERVED_DESCRIPTORS, num_descriptors // 4)


class IdleConnections:
    """The connections that can be closed without harm to a request.

    Without descriptors a process accepts nothing, health checks included. So the connection that
    has been idle longest makes room for a new one.

    Args:
        max_connections: of the process, idle or not.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._idle: dict[asyncio.Transport, None] = {}  # in the order in which they became idle

    def add(self, transport: asyncio.Transport) -> None:
        """Note that a connection waits for a request, from now on."""
        self.discard(transport)
        self._idle[transport] = None

    def discard(self, transport: asyncio.Transport) -> None:
        """Note that a connection is not idle."""
        self._idle.pop(transport, None)

    def make_room(self, num_connections: int) -> None:
        """Close the connection that has been idle longest, if there are too many connections."""
        if num_connections > self._max_connections and self._idle:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            oldest.abort()

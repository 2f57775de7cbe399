"""Limits the connections of an HTTP process by closing the one that has been idle longest."""

import asyncio
import resource

_RESERVED_DESCRIPTORS = 128
"""For the engine's socket, pipes to picture processes, and files."""

_MAX_DESCRIPTORS = 65_536
"""Enough for any load. Some systems allow a billion, and programs allocate tables of that size."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard limit; return the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(soft, wanted)


def max_connections_of(num_descriptors: int) -> int:
    """Return how many connections a process with `num_descriptors` may hold.

    >>> max_connections_of(1024), max_connections_of(64)
    (896, 16)
    """
    # With a tiny limit, the reserve would not permit any connection.
    return max(num_descriptors - _RESERVED_DESCRIPTORS, num_descriptors // 4)


class IdleConnections:
    """The connections without a request in work, in the order in which they became idle.

    A process without free descriptors accepts no connection, not even for health checks. Therefore
    the connection that has been idle longest is closed when a new one exceeds the limit.

    Args:
        max_connections: of the process, idle or not.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._idle: dict[asyncio.Transport, None] = {}  # an ordered set

    def add(self, transport: asyncio.Transport) -> None:
        """Mark a connection as idle from now on."""
        self.discard(transport)
        self._idle[transport] = None

    def discard(self, transport: asyncio.Transport) -> None:
        """Mark a connection as busy or closed."""
        self._idle.pop(transport, None)

    def make_room(self, num_connections: int) -> None:
        """Close the connection that has been idle longest if there are too many connections."""
        if num_connections > self._max_connections and self._idle:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            oldest.abort()

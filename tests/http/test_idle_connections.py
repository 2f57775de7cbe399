"""The connection that has been idle longest makes room for a new one."""

import asyncio

from app.http.idle_connections import IdleConnections


class Connection(asyncio.Transport):
    """A transport that records whether it was aborted."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def test_the_connection_that_has_been_idle_longest_is_closed() -> None:
    """A connection that was busy again since then has not been idle longest."""
    idle, connections = IdleConnections(3), [Connection() for _ in range(4)]
    again, closed, busy, newest = connections
    for connection in (again, closed, busy, again, newest):
        idle.add(connection)
    idle.discard(busy)
    idle.make_room(3)
    assert not any(connection.is_aborted for connection in connections)
    idle.make_room(4)
    assert [connection.is_aborted for connection in connections] == [False, True, False, False]
    idle.make_room(4)
    assert again.is_aborted


def test_a_connection_in_work_is_never_closed() -> None:
    IdleConnections(1).make_room(2)

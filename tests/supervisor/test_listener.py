"""The addresses at which the service listens."""

import socket

import pytest

from app.supervisor.listener import listen


def can_connect(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("::0", {"127.0.0.1", "::1"}),
        ("::1", {"::1"}),
        ("0.0.0.0", {"127.0.0.1"}),  # noqa: S104 - the test is about this address
        ("127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1"}),
    ],
)
def test_listening_on_all_ipv6_addresses_includes_ipv4(host: str, addresses: set[str]) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        answering = {address for address in ("127.0.0.1", "::1") if can_connect((address, port))}
    assert answering == addresses

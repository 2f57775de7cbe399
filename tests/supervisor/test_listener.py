"""The addresses at which the service listens."""

import socket

import pytest

from app.errors import StartupError
from app.supervisor.listener import listen


def test_an_address_of_another_machine_is_named_once() -> None:
    with pytest.raises(StartupError) as raised:
        listen("192.0.2.1", 8000)
    message = "cannot listen on 192.0.2.1, port 8000: Cannot assign requested address"
    assert str(raised.value).replace("Can't", "Cannot") == message  # macOS words it so


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

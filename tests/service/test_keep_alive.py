"""Idle connections stay open for longer than load balancers keep them."""

from collections.abc import Iterator
from time import monotonic

import pytest

from app.settings import Settings
from harness.service import RunningService, running_service
from harness.wire import is_closed, open_connection, receive, request

KEEP_ALIVE_S = 7
UVICORNS_DEFAULT_S = 5
HEALTH = request("GET", "/livez")


@pytest.fixture(scope="module")
def lasting() -> Iterator[RunningService]:
    with running_service(keep_alive_s=KEEP_ALIVE_S) as running:
        yield running


def test_the_default_exceeds_the_usual_idle_timeout() -> None:
    """60 s is the default of nginx upstreams and of AWS application load balancers."""
    assert Settings().keep_alive_s > 60


def test_an_idle_connection_is_closed_after_the_setting(lasting: RunningService) -> None:
    with open_connection(lasting.url) as connection:
        connection.sendall(HEALTH)
        assert receive(connection).status == 200
        began = monotonic()
        assert is_closed(connection)
        assert UVICORNS_DEFAULT_S + 1 < monotonic() - began < 10 * KEEP_ALIVE_S

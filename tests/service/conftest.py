"""A client of the shared service, and a service with short timeouts."""

from collections.abc import Iterator

import httpx
import pytest

from harness.service import RunningService, running_service


@pytest.fixture(scope="session")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="package")
def short_timeouts() -> Iterator[RunningService]:
    """A service that waits one second for headers and bodies, requires a key and has no page."""
    with running_service(
        header_timeout_s=1,
        body_timeout_s=1,
        keep_alive_s=2,
        max_body_bytes=200_000,
        api_keys="key",
        playground=False,
    ) as running:
        yield running

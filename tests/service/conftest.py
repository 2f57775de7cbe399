"""One service for all tests of the wire: the embedded checkpoint in processes of its own."""

from collections.abc import Iterator

import httpx
import pytest

from harness.service import RunningService, running_service


@pytest.fixture(scope="session")
def service() -> Iterator[RunningService]:
    """Limits are small, so that tests reach them with little data."""
    with running_service(
        max_body_bytes=200_000, max_image_pixels=1_000_000, cors_origins="https://app.example"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def impatient() -> Iterator[RunningService]:
    """Nobody may take longer than a second to send, and everybody needs a key."""
    with running_service(
        header_timeout_s=1, body_timeout_s=1, max_body_bytes=200_000, api_keys="key"
    ) as running:
        yield running

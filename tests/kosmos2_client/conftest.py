"""The fixture of tests that hold for both clients."""

import pytest

from tests.kosmos2_client.callers import Use, use_async, use_sync


@pytest.fixture(params=[use_sync, use_async], ids=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Use:
    chosen: Use = request.param
    return chosen

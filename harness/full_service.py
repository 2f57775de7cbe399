"""A service with one slot and no queue whose engine is stopped, so that it stays full."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.contract.examples import EXAMPLE_SCENE
from harness import loopback
from harness.service import RunningService
from harness.waiting import eventually


@contextmanager
def halted(service: RunningService) -> Iterator[None]:
    """Stop the engine during the block, so that no answer advances."""
    engine = service.engine
    engine.suspend()
    try:
        yield
    finally:
        engine.resume()


@contextmanager
def full(service: RunningService, key: str = "") -> Iterator[None]:
    """Keep the only slot occupied during the block; the occupant's answer ends after it."""
    picture = {"image": EXAMPLE_SCENE.read_bytes()}
    fields = {"task": "brief_caption"}

    def occupy() -> None:
        url = f"{service.url}/v1/ground"
        loopback.post(url, files=picture, data=fields, headers=_headers(key), timeout=60)

    occupant = threading.Thread(target=occupy)
    with halted(service):
        occupant.start()
        assert eventually(lambda: is_full(service, key))
        yield
    occupant.join()


def is_full(service: RunningService, key: str = "") -> bool:
    """Return whether a request without a body is rejected because no slot is free."""
    return loopback.post(f"{service.url}/v1/ground", headers=_headers(key)).status_code == 503


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}

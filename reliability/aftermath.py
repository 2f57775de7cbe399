"""What a service still holds and tells when all is over."""

import asyncio
import json
from collections import Counter

import httpx

from app.ipc.shared_state import SharedState
from harness.service import RunningService
from reliability.faults import until

NUM_HTTP_PROCESSES = 2
SETTLES_IN_S = 60.0
_LOOK_S = 0.5
_GAUGES = ("num_requests_running", "num_requests_waiting", "kv_slots_used")


async def leftovers_of(service: RunningService, page: SharedState) -> dict[str, float]:
    """What is still held or wanting, after a time to settle; nothing, if all is well."""
    clock = asyncio.get_running_loop().time
    await until(lambda: page.is_engine_ready)
    deadline = clock() + SETTLES_IN_S
    while (held := await asyncio.to_thread(_look, service, page)) and clock() < deadline:
        await asyncio.sleep(_LOOK_S)
    return held


async def engine_deaths(service: RunningService) -> dict[str, int]:
    """What the service counted of its engines' deaths."""
    names = ("requests_replayed", "engine_restarts")
    return {name: int(await asyncio.to_thread(_metric, service, f"{name}_total")) for name in names}


def times_logged(service: RunningService) -> Counter[str]:
    """How often the log tells of the end of each request id."""
    lines = (json.loads(line) for line in service.log if line.startswith("{"))
    return Counter(line["request_id"] for line in lines if line["event"] == "request")


def _look(service: RunningService, page: SharedState) -> dict[str, float]:
    ready = httpx.get(f"{service.url}/readyz", timeout=SETTLES_IN_S)
    values = {name: _metric(service, name) for name in _GAUGES} | {
        "permits": page.num_permits_taken,
        "http_processes_missing": NUM_HTTP_PROCESSES - _metric(service, "http_workers"),
        "not_ready": float(ready.status_code != httpx.codes.OK),
    }
    return {name: value for name, value in values.items() if value}


def _metric(service: RunningService, name: str) -> float:
    return service.metric(f"kosmos2_{name}")

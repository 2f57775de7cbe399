"""Checks after a run that the service holds no resources and what it logged."""

import asyncio
import json
from collections import Counter

import httpx

from app.ipc.shared_state import SharedState
from harness import loopback
from harness.service import RunningService
from reliability.faults import wait_until

NUM_HTTP_PROCESSES = 2
SETTLES_IN_S = 60.0
_POLL_S = 0.5
_GAUGES = ("num_requests_running", "num_requests_waiting", "kv_slots_used")


async def leftovers_of(service: RunningService, state: SharedState) -> dict[str, float]:
    """Return the resources still held and the missing processes, after a time to settle."""
    clock = asyncio.get_running_loop().time
    await wait_until(lambda: state.is_engine_ready)
    deadline = clock() + SETTLES_IN_S
    while (held := await asyncio.to_thread(_held, service, state)) and clock() < deadline:
        await asyncio.sleep(_POLL_S)
    return held


async def engine_deaths(service: RunningService) -> dict[str, int]:
    """Return the service's own counts of replayed requests and engine restarts."""
    names = ("requests_replayed", "engine_restarts")
    return {name: int(await asyncio.to_thread(_metric, service, f"{name}_total")) for name in names}


def times_logged(service: RunningService) -> Counter[str]:
    """Return how often the service logged the end of each request id."""
    # Some lines are not JSON, such as those of a traceback that Python itself prints.
    lines = (json.loads(line) for line in service.log if line.startswith("{"))
    return Counter(line["request_id"] for line in lines if line["event"] == "request")


def _held(service: RunningService, state: SharedState) -> dict[str, float]:
    ready = loopback.get(f"{service.url}/readyz", timeout=SETTLES_IN_S)
    values = {name: _metric(service, name) for name in _GAUGES} | {
        "permits": state.num_permits_taken,
        "http_processes_missing": NUM_HTTP_PROCESSES - _metric(service, "http_workers"),
        "not_ready": float(ready.status_code != httpx.codes.OK),
    }
    return {name: value for name, value in values.items() if value}


def _metric(service: RunningService, name: str) -> float:
    return service.metric(f"kosmos2_{name}")

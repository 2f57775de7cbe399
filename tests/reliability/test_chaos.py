"""A short chaos run accounts for all requests, and chaos would detect losses."""

import asyncio
from pathlib import Path

import httpx
import pytest

from harness import loopback
from harness.pictures import picture_file
from harness.processes import HTTP
from harness.service import RunningService, running_service
from harness.waiting import eventually
from reliability.attempts import Attempt
from reliability.chaos import chaos_service, run_chaos
from reliability.client import ChaosClient
from reliability.faults import Fault, Target, kill_http
from reliability.ledger import Fate, Ledger
from reliability.plan import ChaosPlan
from reliability.processes import ServiceProcesses
from reliability.questions import Question

pytestmark = pytest.mark.processes

LONG = Question(picture_file(), {"task": "brief_caption", "max_new_tokens": 400})


def test_chaos_accounts_for_every_request() -> None:
    """With this seed, the engine and an HTTP process are killed and a burst is sent within 4 s."""
    with chaos_service() as service:
        report, violations = asyncio.run(run_chaos(service, ChaosPlan(seconds=10, seed=1187)))
    assert violations == []
    assert report["faults"].keys() >= {"kill_engine", "kill_http", "send_burst"}
    assert report["completed"] > 0
    assert report["refused"]["overloaded"] > 0
    assert report["engine_restarts"] >= report["faults"]["kill_engine"]


async def kill_secretly(target: Target) -> bool:
    """Kill the HTTP process without a note in the ledger."""
    (process,) = target.processes.of(HTTP)
    process.kill()
    return True


async def fate_of_a_request(service: RunningService, fault: Fault) -> Fate:
    """Return the fate of a request during which a fault is injected."""
    async with httpx.AsyncClient(timeout=60) as http:
        processes, ledger = ServiceProcesses(service.process.pid), Ledger({})
        client = ChaosClient(http, service.url, limit_s=60, pause_s=0)
        target = Target.create(processes, client, ledger, probe=LONG, max_body_bytes=0)
        sending = asyncio.create_task(target.send(Attempt("long", LONG)))
        running = "kosmos2_num_requests_running"
        await asyncio.to_thread(eventually, lambda: service.metric(running) == 1)
        await fault(target)
        await sending
    (record,) = ledger.records({})
    return record.fate


def test_a_broken_connection_is_excused_only_if_its_own_process_was_killed(
    endless_checkpoint: Path,
) -> None:
    """Otherwise chaos could never detect a lost request."""
    faults: dict[Fault, Fate] = {kill_http: "lost_with_its_process", kill_secretly: "lost"}
    with running_service(model=endless_checkpoint) as service:
        for fault, fate in faults.items():
            assert eventually(lambda: is_ready(service))
            assert asyncio.run(fate_of_a_request(service, fault)) == fate


def is_ready(service: RunningService) -> bool:
    """Return whether an HTTP process answers; the supervisor replaces a killed one."""
    try:
        return loopback.get(f"{service.url}/readyz").status_code == 200
    except httpx.TransportError:
        return False

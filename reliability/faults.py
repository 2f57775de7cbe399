"""Faults of processes: killed, stopped for a while, or hung until the watchdog kills them."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import psutil

from app.ipc.shared_state import SharedState
from harness.processes import ENGINE, HTTP, PICTURE
from reliability.attempts import Attempt
from reliability.client import ChaosClient, Ending
from reliability.ledger import Ledger
from reliability.processes import ServiceProcesses
from reliability.questions import Question

LONGEST_WAIT_S = 180.0
_POLL_S = 0.05
# Far below the 30 s after which the watchdog kills a stopped engine (app/engine/phases.py).
_PAUSES_S = (0.5, 3.0)
_MIN_PICTURE_AGE_S = 20.0


@dataclass
class Target:
    """The service under test and the state that the faults need.

    Attributes:
        state: shared with the service; shows whether an engine is ready.
        client: sends requests and knows the connection of each.
        ledger: records every request.
        probe: a question that checks whether the service works again.
        rng: for the faults' own choices.
        recoveries_s: from each kill of the engine to the first token of a new request.
        numbers: of probes and bursts.
    """

    processes: ServiceProcesses
    state: SharedState
    client: ChaosClient
    ledger: Ledger
    probe: Question
    rng: random.Random
    max_body_bytes: int
    recoveries_s: list[float] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    @classmethod
    def create(
        cls,
        processes: ServiceProcesses,
        client: ChaosClient,
        ledger: Ledger,
        *,
        probe: Question,
        max_body_bytes: int,
        seed: int = 0,
    ) -> "Target":
        """Return a target for a service without faults so far."""
        rng = random.Random(seed)
        return cls(processes, processes.open_state(), client, ledger, probe, rng, max_body_bytes)

    async def send(self, attempt: Attempt) -> Ending:
        """Send an attempt and record its end in the ledger."""
        ending = await self.client.perform(attempt)
        self.ledger.endings.append((attempt, ending))
        return ending

    async def engine(self) -> psutil.Process | None:
        """Return the engine once it is ready, or `None` if it does not become ready in time."""
        if not await wait_until(lambda: self.state.is_engine_ready):
            return None
        return next(iter(self.processes.of(ENGINE)), None)

    def any_of(self, module: str, min_age_s: float = 0.0) -> psutil.Process | None:
        """Return a random process of a kind that is at least `min_age_s` old, or `None`."""
        # `create_time` counts from the epoch, unlike a monotonic clock.
        born_before = time.time() - min_age_s
        processes = [p for p in self.processes.of(module) if p.create_time() <= born_before]
        return self.rng.choice(processes) if processes else None


Fault = Callable[[Target], Awaitable[bool]]
"""Injects a fault and waits until it is over; returns false when there was no process to hit."""


async def kill_engine(target: Target) -> bool:
    """Kill the engine, then measure the time until a new request has its first token."""
    engine = await target.engine()
    if engine is None:
        return False
    killed_at = asyncio.get_running_loop().time()
    _send_signal(engine, signal.SIGKILL)
    target.recoveries_s.append(await _first_token_at(target) - killed_at)
    return True


async def pause_engine(target: Target) -> bool:
    """Stop the engine and continue it before the watchdog kills it."""
    return await _pause(target, await target.engine())


async def hang_engine(target: Target) -> bool:
    """Stop the engine for good; the watchdog must notice."""
    engine = await target.engine()
    if engine is None:
        return False
    _send_signal(engine, signal.SIGSTOP)
    return await wait_until(lambda: not engine.is_running())


async def kill_http(target: Target) -> bool:
    """Kill an HTTP process; only its own connections may break.

    The process is stopped first. Then the list of its connections is final, and the clients at the
    other ends have noticed that they are connected.
    """
    process = target.any_of(HTTP)
    if process is None:
        return False
    _send_signal(process, signal.SIGSTOP)
    await wait_until(lambda: _is_stopped(process))
    # The kernel may just have accepted a connection whose client has not noted its port yet.
    await asyncio.sleep(_POLL_S)
    with suppress(psutil.NoSuchProcess):
        # The listening socket has no remote address.
        ports = [c.raddr.port for c in process.net_connections("tcp") if c.raddr]
        excused = target.client.attempts_on(ports)
        # Requests on these connections are allowed to be lost.
        target.ledger.excused.update(attempt.request_id for attempt in excused)
        process.kill()
    return True


async def pause_http(target: Target) -> bool:
    """Stop and continue an HTTP process: its clients wait, and no request is lost."""
    return await _pause(target, target.any_of(HTTP))


async def kill_picture_process(target: Target) -> bool:
    """Kill a picture process; the service decodes its picture again.

    A recently started process is spared: a picture that loses two processes gets a retryable error
    (`tests/faults/test_killed_pictures.py`), which chaos would count as a failure.
    """
    process = target.any_of(PICTURE, min_age_s=_MIN_PICTURE_AGE_S)
    if process is None:
        return False
    _send_signal(process, signal.SIGKILL)
    return True


async def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition on other processes; return whether it became true in time."""
    deadline = asyncio.get_running_loop().time() + LONGEST_WAIT_S
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def _first_token_at(target: Target) -> float:
    """Send probes until one is answered; return the time of its first token."""
    while True:
        attempt = Attempt(f"probe-{next(target.numbers)}", target.probe, is_streaming=True)
        ending = await target.send(attempt)
        if ending.first_event_at is not None:
            return ending.first_event_at
        # The ledger reports the hang; the measurement must end.
        if ending.kind == "late":
            return asyncio.get_running_loop().time()


async def _pause(target: Target, process: psutil.Process | None) -> bool:
    if process is None:
        return False
    _send_signal(process, signal.SIGSTOP)
    try:
        await asyncio.sleep(target.rng.uniform(*_PAUSES_S))
    finally:
        # Also when chaos is cancelled: a stopped process would never end.
        _send_signal(process, signal.SIGCONT)
    return True


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process, unless it has exited."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        # psutil compares start times, so a reused process id gets no signal.
        if process.is_running():
            os.kill(process.pid, number)


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return True

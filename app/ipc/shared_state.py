"""Memory that all processes share: what the engine last did, and the permits.

The engine stamps it before each phase of a step, so that a hang shows as an old stamp, and names
what runs before each step, so that a death has its suspects; `/readyz` and admission read it and
never wait for anybody.
"""

import ctypes
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import MAX_HTTP_WORKERS, MAX_SLOTS

NUM_RATE_CELLS = 256


class _RateCell(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_uint64),
        ("window", ctypes.c_uint64),
        ("num_calls", ctypes.c_uint64),
    )


class _Layout(ctypes.Structure):
    _fields_ = (
        ("epoch", ctypes.c_uint64),
        ("is_draining", ctypes.c_uint32),
        ("is_engine_ready", ctypes.c_uint32),
        ("is_engine_returning", ctypes.c_uint32),
        ("num_running", ctypes.c_uint32),
        ("engine_due_at_s", ctypes.c_double),
        ("stamped_at_s", ctypes.c_double),
        ("allowance_s", ctypes.c_double),
        ("num_slots", ctypes.c_uint32),
        ("max_waiting", ctypes.c_uint32),
        ("device", ctypes.c_char * 16),
        ("dtype", ctypes.c_char * 16),
        ("requests_per_s", ctypes.c_double),
        ("running", ctypes.c_uint64 * MAX_SLOTS),
        ("permits", ctypes.c_uint32 * MAX_HTTP_WORKERS),
        ("rates", _RateCell * NUM_RATE_CELLS),
    )


@dataclass(frozen=True)
class EngineFacts:
    """What a ready engine tells of itself.

    Attributes:
        num_slots: sequences it decodes at once.
        max_waiting: requests that may wait beside them.
        device: such as `cpu`.
        dtype: of the weights, such as `float32`.
    """

    num_slots: int
    max_waiting: int
    device: str
    dtype: str


class SharedState:
    """A view of the shared memory; every process opens its own.

    Args:
        path: of the file that backs the memory; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, ctypes.sizeof(_Layout))
        self._map = mmap.mmap(self._file, ctypes.sizeof(_Layout))
        self._state = _Layout.from_buffer(self._map)

    # The supervisor writes.

    def begin_epoch(self) -> int:
        """Count a new engine: it is not ready, and messages of older ones are void."""
        self._state.is_engine_ready = 0
        self._state.num_running = 0
        self._state.epoch += 1
        return self.epoch

    def mark_engine_stopped(self, due_at_s: float, *, is_returning: bool) -> None:
        """Say that there is no engine, and when the next one is expected, on the monotonic clock.

        Args:
            due_at_s: a guess, from how long the last one took.
            is_returning: whether there is no reason to doubt it; requests are accepted meanwhile.
        """
        self._state.engine_due_at_s = due_at_s
        self._state.is_engine_returning = is_returning
        self._state.is_engine_ready = 0

    def mark_draining(self) -> None:
        """Say that the service is about to stop."""
        self._state.is_draining = 1

    def forget_worker(self, worker: int) -> None:
        """Take back the permits of an HTTP process that died."""
        with self._lock():
            self._state.permits[worker] = 0

    # The engine writes.

    def mark_engine_ready(self, facts: EngineFacts) -> None:
        """Say that the engine is loaded and warm, and how much it takes at once."""
        self._state.num_slots = facts.num_slots
        self._state.max_waiting = facts.max_waiting
        self._state.device = facts.device.encode()
        self._state.dtype = facts.dtype.encode()
        self._state.is_engine_ready = 1

    def set_running(self, keys: Sequence[int]) -> None:
        """Tell which requests run in the step that begins: whom to suspect if it is the last."""
        self._state.num_running = 0
        self._state.running[: len(keys)] = keys
        self._state.num_running = len(keys)

    def publish_rate(self, requests_per_s: float) -> None:
        """Tell how many requests the engine completes in a second of work."""
        self._state.requests_per_s = requests_per_s

    def stamp(self, now: float, allowance_s: float) -> None:
        """Say that a phase begins which lasts no longer than `allowance_s` unless it hangs."""
        # In this order: an old stamp with a new, shorter allowance would look like a hang.
        self._state.stamped_at_s = now
        self._state.allowance_s = allowance_s

    # HTTP processes write.

    def acquire_permit(self, worker: int) -> bool:
        """Take one of the service's places; false when all are taken."""
        with self._lock():
            if self.num_permits_taken >= self.capacity:
                return False
            self._state.permits[worker] += 1
            return True

    def release_permit(self, worker: int) -> None:
        """Give a place back."""
        with self._lock():
            self._state.permits[worker] -= 1

    def count_call(self, key: int, window: int) -> int:
        """Count a call; how many that key has made in that window of time, this one included.

        Args:
            key: a number that tells it from others, not 0.
            window: of time, counted up.
        """
        with self._lock():
            cell = min(self._state.rates, key=lambda cell: (cell.key != key, cell.window))
            if (cell.key, cell.window) != (key, window):
                cell.key, cell.window, cell.num_calls = key, window, 0
            cell.num_calls += 1
            return int(cell.num_calls)

    # Everybody reads.

    @property
    def epoch(self) -> int:
        """Of the engine that runs or is being started; 0 before the first."""
        return int(self._state.epoch)

    @property
    def is_draining(self) -> bool:
        """Whether the service is about to stop."""
        return bool(self._state.is_draining)

    @property
    def is_engine_ready(self) -> bool:
        """Whether the engine is loaded and warm."""
        return bool(self._state.is_engine_ready)

    @property
    def is_engine_returning(self) -> bool:
        """Whether an engine that was ready has died and the first start after it goes on."""
        return bool(self._state.is_engine_returning)

    @property
    def engine_due_at_s(self) -> float:
        """When the next engine is or was expected, on the monotonic clock; 0 before the first."""
        return float(self._state.engine_due_at_s)

    @property
    def running(self) -> list[int]:
        """Keys of the requests in the engine's last step; none when it rests."""
        return list(self._state.running[: self._state.num_running])

    @property
    def seconds_to_serve_all(self) -> float:
        """How long the engine will take for as many requests as there are places; 0: not known."""
        rate = self._state.requests_per_s
        return self.capacity / rate if rate else 0.0

    @property
    def engine_facts(self) -> EngineFacts:
        """What the engine told when it got ready; zeros and blanks before the first did."""
        state = self._state
        return EngineFacts(
            state.num_slots, state.max_waiting, state.device.decode(), state.dtype.decode()
        )

    @property
    def capacity(self) -> int:
        """Requests the service takes at once: slots and waiting places."""
        return int(self._state.num_slots + self._state.max_waiting)

    @property
    def num_permits_taken(self) -> int:
        """Requests in the service, from admission to answer."""
        return sum(self._state.permits)

    def is_stuck(self, now: float) -> bool:
        """Whether the engine's current phase has lasted longer than it was allowed."""
        return bool(now - self._state.stamped_at_s > self._state.allowance_s)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclusive among processes; the system lets go of it when its holder dies."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

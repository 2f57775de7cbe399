"""Memory that all processes share: the state of the engine, and the permits.

The engine writes a stamp before each phase of a step, so that an old stamp reveals a hang. It lists
the running requests before each step, so that they are the suspects after a crash. `/readyz` and
admission read the state without waiting for another process.
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
        ("batch_permits", ctypes.c_uint32 * MAX_HTTP_WORKERS),
        ("rates", _RateCell * NUM_RATE_CELLS),
    )


@dataclass(frozen=True)
class EngineFacts:
    """Facts that a ready engine publishes.

    Attributes:
        num_slots: number of sequences that run at the same time.
        max_waiting: number of requests that may wait in addition.
        device: for example `cpu`.
        dtype: dtype of the weights, for example `float32`.
    """

    num_slots: int
    max_waiting: int
    device: str
    dtype: str


class SharedState:
    """A view of the shared memory; every process opens its own.

    Args:
        path: file that backs the memory; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, ctypes.sizeof(_Layout))
        self._map = mmap.mmap(self._file, ctypes.sizeof(_Layout))
        self._state = _Layout.from_buffer(self._map)

    # The supervisor writes.

    def begin_epoch(self) -> int:
        """Begin the epoch of a new engine; it is not ready, and earlier messages are void."""
        self._state.is_engine_ready = 0
        self._state.num_running = 0
        self._state.epoch += 1
        return self.epoch

    def mark_engine_stopped(self, due_at_s: float, *, is_returning: bool) -> None:
        """Record that no engine runs, and when the next one is expected.

        Args:
            due_at_s: estimate from the last start, seconds on the monotonic clock.
            is_returning: whether the next start is expected to succeed, so that requests are
                accepted meanwhile.
        """
        self._state.engine_due_at_s = due_at_s
        self._state.is_engine_returning = is_returning
        self._state.is_engine_ready = 0

    def mark_draining(self) -> None:
        """Record that the service is about to stop."""
        self._state.is_draining = 1

    def release_permits_of(self, worker: int) -> None:
        """Release all permits of an HTTP process that died."""
        with self._lock():
            self._state.permits[worker] = 0
            self._state.batch_permits[worker] = 0

    # The engine writes.

    def mark_engine_ready(self, facts: EngineFacts) -> None:
        """Record that the engine is loaded and warm, and its facts."""
        self._state.num_slots = facts.num_slots
        self._state.max_waiting = facts.max_waiting
        self._state.device = facts.device.encode()
        self._state.dtype = facts.dtype.encode()
        self._state.is_engine_ready = 1

    def set_running(self, keys: Sequence[int]) -> None:
        """Record the keys of the requests in the step that begins."""
        # In this order: a reader never sees more keys than have been written.
        self._state.num_running = 0
        self._state.running[: len(keys)] = keys
        self._state.num_running = len(keys)

    def publish_rate(self, requests_per_s: float) -> None:
        """Record how many requests the engine completes per second of work."""
        self._state.requests_per_s = requests_per_s

    def stamp(self, now: float, allowance_s: float) -> None:
        """Record the start of a phase that hangs if it takes longer than `allowance_s`."""
        # In this order: an old stamp with a new, shorter allowance would look like a hang.
        self._state.stamped_at_s = now
        self._state.allowance_s = allowance_s

    # HTTP processes write.

    def acquire_permit(self, worker: int, *, is_batch: bool) -> bool:
        """Take one of the service's permits; return false if all for this priority are taken."""
        with self._lock():
            if not self.has_permit(is_batch=is_batch):
                return False
            self._state.permits[worker] += 1
            self._state.batch_permits[worker] += is_batch
            return True

    def release_permit(self, worker: int, *, is_batch: bool) -> None:
        """Return a permit."""
        with self._lock():
            self._state.permits[worker] -= 1
            self._state.batch_permits[worker] -= is_batch

    def count_call(self, key: int, window: int) -> int:
        """Count a call; return the number of calls of `key` within `window`, this one included.

        Args:
            key: unique number of the caller, not 0.
            window: index of the time window; later windows have larger indices.
        """
        with self._lock():
            # The cell of this key if it has one, otherwise the cell with the oldest window.
            cell = min(self._state.rates, key=lambda cell: (cell.key != key, cell.window))
            if (cell.key, cell.window) != (key, window):
                cell.key, cell.window, cell.num_calls = key, window, 0
            cell.num_calls += 1
            return int(cell.num_calls)

    # All processes read.

    @property
    def epoch(self) -> int:
        """Epoch of the engine that runs or starts; 0 before the first."""
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
        """Whether a ready engine has died and the first start after it is in progress."""
        return bool(self._state.is_engine_returning)

    @property
    def engine_due_at_s(self) -> float:
        """Expected start of the next engine, seconds on the monotonic clock; 0 before the first."""
        return float(self._state.engine_due_at_s)

    @property
    def running(self) -> list[int]:
        """Keys of the requests in the engine's last step; empty if it is idle."""
        return list(self._state.running[: self._state.num_running])

    @property
    def seconds_to_serve_all(self) -> float:
        """Seconds that the engine needs for a full service; 0 if the rate is not known yet."""
        rate = self._state.requests_per_s
        return self.capacity / rate if rate else 0.0

    @property
    def engine_facts(self) -> EngineFacts:
        """Facts of the last engine that was ready; zeros and empty strings before the first."""
        state = self._state
        return EngineFacts(
            state.num_slots, state.max_waiting, state.device.decode(), state.dtype.decode()
        )

    @property
    def capacity(self) -> int:
        """Number of requests that the service accepts at once: running and waiting ones."""
        return int(self._state.num_slots + self._state.max_waiting)

    @property
    def num_permits_taken(self) -> int:
        """Number of requests in the service, from admission to answer."""
        return sum(self._state.permits)

    def has_permit(self, *, is_batch: bool) -> bool:
        """Return whether a permit is free; a quarter of them is never for batch requests."""
        num_reserved = self.capacity // 4
        is_allowed = not is_batch or sum(self._state.batch_permits) < self.capacity - num_reserved
        return is_allowed and self.num_permits_taken < self.capacity

    def is_stuck(self, now: float) -> bool:
        """Return whether the engine's current phase has exceeded its allowance."""
        return bool(now - self._state.stamped_at_s > self._state.allowance_s)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold an exclusive lock among processes; the system releases it if the holder dies."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

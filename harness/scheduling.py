"""Schedulers and sequences for tests, without a model."""

from collections.abc import Iterable
from typing import Any

import torch

from app.engine.kv_slots import KeyValueShape, KVSlots
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import MAX_SLOTS

LIMITS = SchedulerLimits(max_waiting=4, max_prefill_tokens=100, max_pictures=2)


def make_scheduler(
    num_slots: int = 3, cached: Iterable[bytes] = (), limits: SchedulerLimits = LIMITS
) -> Scheduler:
    """Return a scheduler over free slots.

    Args:
        cached: digests of the pictures whose prefixes are cached.
    """
    shape = KeyValueShape(num_layers=1, num_heads=1, head_width=1)
    slots = KVSlots(shape, num_slots, 8, torch.float32, torch.device("cpu"))
    return Scheduler(slots, limits, frozenset(cached).__contains__)


def make_sequence(
    key: int,
    num_tokens: int = 10,
    picture: bytes = b"",
    deadline: float = 1e9,
    max_running: int = MAX_SLOTS,
    **fields: Any,
) -> Sequence:
    """Return a sequence of the client `client`.

    Args:
        num_tokens: of its prompt.
        picture: the digest of its picture.
        fields: further fields of its `Generate` message.
    """
    sampling = SamplingParameters(max_new_tokens=2)
    request = Generate(
        1, key, [0] * num_tokens, picture, sampling, deadline, max_running=max_running, **fields
    )
    return Sequence(b"client", request, b"", arrived_at=0.0)


def add(scheduler: Scheduler, *sequences: Sequence) -> None:
    """Queue sequences in order."""
    for sequence in sequences:
        scheduler.add(sequence)


def keys(sequences: Iterable[Sequence]) -> list[int]:
    """Return the key of each sequence."""
    return [sequence.request.key for sequence in sequences]

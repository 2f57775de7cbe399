"""The scheduler: the queue keeps its order and its limit, and loses no sequence."""

from collections.abc import Iterable

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.engine.kv_slots import KeyValueShape, KVSlots
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import MAX_SLOTS

SHAPE = KeyValueShape(num_layers=1, num_heads=1, head_width=1)
LIMITS = SchedulerLimits(max_waiting=4, max_prefill_tokens=100, max_pictures=2)


def make_scheduler(num_slots: int = 3, cached: Iterable[bytes] = ()) -> Scheduler:
    slots = KVSlots(SHAPE, num_slots, 8, torch.float32, torch.device("cpu"))
    return Scheduler(slots, LIMITS, frozenset(cached).__contains__)


def make_sequence(
    key: int,
    num_tokens: int = 10,
    picture: bytes = b"",
    deadline: float = 1e9,
    max_running: int = MAX_SLOTS,
) -> Sequence:
    sampling = SamplingParameters(max_new_tokens=2)
    request = Generate(
        1, key, [0] * num_tokens, picture, sampling, deadline, max_running=max_running
    )
    return Sequence(b"client", request, b"", arrived_at=0.0)


def add(scheduler: Scheduler, *sequences: Sequence) -> None:
    for sequence in sequences:
        scheduler.add(sequence)


def keys(sequences: Iterable[Sequence]) -> list[int]:
    return [sequence.request.key for sequence in sequences]


def test_sequences_start_in_the_order_of_arrival() -> None:
    scheduler = make_scheduler(num_slots=2)
    add(scheduler, *(make_sequence(key) for key in range(3)))
    assert keys(scheduler.admit(now=0)) == [0, 1]
    assert keys(scheduler.waiting) == [2]


def test_a_step_prefills_no_more_prompt_tokens_than_its_limit() -> None:
    """Running rows keep their pace even if many prompts arrive at once."""
    scheduler = make_scheduler()
    add(scheduler, make_sequence(0, 60), make_sequence(1, 60))
    assert keys(scheduler.admit(now=0)) == [0]
    assert keys(scheduler.admit(now=0)) == [1]


def test_a_prompt_longer_than_the_limit_starts_alone() -> None:
    """Otherwise it would block the queue without end."""
    scheduler = make_scheduler()
    add(scheduler, make_sequence(0, 500), make_sequence(1, 10))
    assert keys(scheduler.admit(now=0)) == [0]


def test_a_step_encodes_no_more_new_pictures_than_its_limit() -> None:
    """Rows with the same picture count once, and cached pictures do not count."""
    scheduler = make_scheduler(num_slots=9, cached=[b"cached"])
    pictures = [b"a", b"cached", b"a", b"b", b"c"]
    add(scheduler, *(make_sequence(key, picture=p) for key, p in enumerate(pictures)))
    assert keys(scheduler.admit(now=0)) == [0, 1, 2, 3]


def test_the_queue_accepts_as_many_sequences_as_slots_and_waiting_places() -> None:
    scheduler = make_scheduler(num_slots=1)
    for key in range(5):
        assert scheduler.can_add
        scheduler.add(make_sequence(key))
    assert not scheduler.can_add


def test_an_expired_sequence_releases_its_slot_at_once() -> None:
    scheduler = make_scheduler(num_slots=1)
    add(scheduler, make_sequence(0, deadline=5), make_sequence(1, deadline=4))
    scheduler.admit(now=0)
    assert keys(scheduler.expire(now=5)) == [0, 1]
    assert scheduler.is_idle
    assert scheduler.slots.num_free == 1


@pytest.mark.parametrize(
    ("bounds", "running"),
    [
        ([9, 9, 9, 9], [0, 1, 2, 3]),
        ([2, 9, 9, 9], [0, 1]),
        ([9, 9, 2, 9], [0, 1]),
        ([9, 1, 9, 9], [0]),
        ([1, 1, 1, 1], [0]),
    ],
)
def test_no_more_sequences_run_than_the_smallest_batch_limit_among_them(
    bounds: list[int], running: list[int]
) -> None:
    """No sequence overtakes another, so that one that must run alone eventually does."""
    scheduler = make_scheduler(num_slots=9)
    add(scheduler, *(make_sequence(key, max_running=bound) for key, bound in enumerate(bounds)))
    for _ in range(2):
        scheduler.admit(now=0)
        assert keys(scheduler.running) == running


def test_requests_of_a_failed_batch_are_requeued_first_with_half_the_batch_limit() -> None:
    scheduler = make_scheduler(num_slots=4)
    add(scheduler, *(make_sequence(key) for key in range(5)))
    scheduler.requeue(scheduler.admit(now=0))
    assert keys(scheduler.waiting) == [0, 1, 2, 3, 4]
    assert scheduler.slots.num_free == 4
    assert keys(scheduler.admit(now=0)) == [0, 1]
    scheduler.requeue(list(scheduler.running))
    assert keys(scheduler.admit(now=0)) == [0]


def test_cancelling_an_unknown_sequence_changes_nothing() -> None:
    """A client may disconnect while its last token is on the way."""
    scheduler = make_scheduler()
    assert scheduler.cancel([(b"client", 7)]) == []


@settings(max_examples=60, stateful_step_count=40, deadline=None)
class SchedulerBooks(RuleBasedStateMachine):
    """Under any sequence of operations, every used slot belongs to exactly one sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make_scheduler()
        self.next_key = 0
        self.removed: list[int] = []

    @precondition(lambda self: self.scheduler.can_add)
    @rule(num_tokens=st.integers(1, 120), picture=st.sampled_from([b"a", b"b", b"c"]))
    def arrive(self, num_tokens: int, picture: bytes) -> None:
        deadline = float(self.next_key + 20)
        self.scheduler.add(make_sequence(self.next_key, num_tokens, picture, deadline))
        self.next_key += 1

    @rule()
    def start(self) -> None:
        self.scheduler.admit(now=0)

    @rule(count=st.integers(0, 3))
    def prefill(self, count: int) -> None:
        """Assign slots in another order than that of arrival."""
        without = [s for s in reversed(self.scheduler.running) if s.slot is None]
        self.scheduler.assign_slots(without[:count])

    @rule(first=st.integers(0, 2))
    def fail(self, first: int) -> None:
        self.scheduler.requeue(self.scheduler.running[first:])

    @rule(key=st.integers(0, 40))
    def cancel(self, key: int) -> None:
        self.removed += keys(self.scheduler.cancel([(b"client", key)]))

    @rule(now=st.integers(0, 60))
    def expire(self, now: int) -> None:
        self.removed += keys(self.scheduler.expire(float(now)))

    @rule()
    def generate(self) -> None:
        for sequence in self.scheduler.running:
            sequence.append(0, lambda _: False)
        self.removed += keys(self.scheduler.finish())

    @invariant()
    def every_sequence_is_in_exactly_one_state(self) -> None:
        present = keys(self.scheduler.waiting) + keys(self.scheduler.running)
        assert sorted(present + self.removed) == list(range(self.next_key))
        self.scheduler.check()


test_slots_and_sequences_stay_consistent = SchedulerBooks.TestCase

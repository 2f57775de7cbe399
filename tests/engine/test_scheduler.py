"""The scheduler: the queue keeps its order and its limit, and loses no sequence."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.engine.kv_slots import KeyValueShape, KVSlots
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, Priority, SamplingParameters
from app.settings import MAX_SLOTS

SHAPE = KeyValueShape(num_layers=1, num_heads=1, head_width=1)
LIMITS = SchedulerLimits(max_waiting=4, max_prefill_tokens=100, max_pictures=2)


def make_scheduler(
    num_slots: int = 3, cached: Iterable[bytes] = (), limits: SchedulerLimits = LIMITS
) -> Scheduler:
    slots = KVSlots(SHAPE, num_slots, 8, torch.float32, torch.device("cpu"))
    return Scheduler(slots, limits, frozenset(cached).__contains__)


def make_sequence(
    key: int,
    num_tokens: int = 10,
    picture: bytes = b"",
    deadline: float = 1e9,
    max_running: int = MAX_SLOTS,
    **fields: Any,
) -> Sequence:
    sampling = SamplingParameters(max_new_tokens=2)
    request = Generate(
        1, key, [0] * num_tokens, picture, sampling, deadline, max_running=max_running, **fields
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


def test_sequences_gather_for_some_steps_while_many_run() -> None:
    """One pass that starts several costs a CUDA device little more than one that starts one."""
    limits = SchedulerLimits(
        max_waiting=9, max_prefill_tokens=100, max_pictures=2, steps_between_starts=2
    )
    slots = KVSlots(SHAPE, 9, 8, torch.float32, torch.device("cpu"))
    scheduler = Scheduler(slots, limits, frozenset[bytes]().__contains__)
    for key in range(2):  # few sequences run, so both start at once
        add(scheduler, make_sequence(key, picture=b"%d" % key))
        assert keys(scheduler.admit(now=0)) == [key]
    add(scheduler, make_sequence(2))
    assert [keys(scheduler.admit(now=0)) for _ in range(3)] == [[], [], [2]]
    add(scheduler, make_sequence(3), make_sequence(4))  # as many as one pass encodes
    assert keys(scheduler.admit(now=0)) == [3, 4]


def test_a_step_prefills_no_more_prompt_tokens_than_its_limit() -> None:
    """Running rows keep their pace even if many prompts arrive at once."""
    scheduler = make_scheduler()
    add(scheduler, make_sequence(0, 60), make_sequence(1, 60))
    assert keys(scheduler.admit(now=0)) == [0]
    assert keys(scheduler.admit(now=0)) == [1]


def test_rows_of_a_detection_take_half_of_a_step_while_others_are_there() -> None:
    """An answer that is being written waits for every prompt of a step."""
    scheduler = make_scheduler(num_slots=9)
    add(scheduler, *(make_sequence(key, 30, group=100) for key in range(4)))
    assert keys(scheduler.admit(now=0)) == [0, 1, 2]
    add(scheduler, make_sequence(9, 30), *(make_sequence(k, 30, group=200) for k in (10, 11)))
    started = [keys(scheduler.admit(now=0)) for _ in range(3)]
    assert started == [[9, 10], [3], [11]]


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
        assert scheduler.can_add(make_sequence(key))
        scheduler.add(make_sequence(key))
    assert not scheduler.can_add(make_sequence(5))


def test_the_rows_of_one_request_count_once_in_a_full_queue() -> None:
    """Admission counts requests; a detection that it admitted must not fail halfway."""
    scheduler = make_scheduler(num_slots=1)
    add(scheduler, *(make_sequence(key, group=100) for key in range(9)))
    add(scheduler, *(make_sequence(key) for key in range(10, 14)))
    assert scheduler.can_add(make_sequence(20, group=100))
    assert not scheduler.can_add(make_sequence(21))


def start_one_by_one(scheduler: Scheduler) -> list[int]:
    """Start and finish one sequence after the other; return their keys in order."""
    order = []
    while scheduler.waiting:
        [started] = scheduler.admit(now=0)
        order.append(started.request.key)
        scheduler.cancel([started.name])
    return order


def test_waiting_requests_alternate_row_by_row() -> None:
    """A caption that arrives after a detection of many rows waits for one of them only."""
    scheduler = make_scheduler(num_slots=1)
    add(scheduler, *(make_sequence(key, group=100) for key in range(4)))
    add(scheduler, *(make_sequence(key, group=200) for key in range(10, 13)))
    add(scheduler, make_sequence(20), make_sequence(21))
    assert start_one_by_one(scheduler) == [0, 10, 20, 21, 1, 11, 2, 12, 3]


def test_a_request_that_paused_gets_no_credit() -> None:
    """Otherwise it would later run many rows in a row."""
    scheduler = make_scheduler(num_slots=1)
    add(scheduler, make_sequence(0, group=100))
    add(scheduler, *(make_sequence(key, group=200) for key in range(10, 14)))
    assert keys(scheduler.admit(now=0)) == [0]
    scheduler.cancel([(b"client", 0)])
    for _ in range(3):
        [started] = scheduler.admit(now=0)
        scheduler.cancel([started.name])
    add(scheduler, *(make_sequence(key, group=100) for key in range(1, 4)))
    add(scheduler, *(make_sequence(key, group=200) for key in range(14, 16)))
    assert start_one_by_one(scheduler) == [1, 13, 2, 3, 14, 15]


def test_interactive_sequences_start_before_batch_ones() -> None:
    scheduler = make_scheduler(num_slots=4)
    add(scheduler, make_sequence(0, priority="batch"), make_sequence(1, priority="batch"))
    add(scheduler, make_sequence(2), make_sequence(3))
    assert keys(scheduler.admit(now=0)) == [2, 3, 0, 1]


def test_a_quarter_of_the_slots_is_never_for_batch_sequences() -> None:
    scheduler = make_scheduler(num_slots=4)
    add(scheduler, *(make_sequence(key, priority="batch") for key in range(4)))
    assert keys(scheduler.admit(now=0)) == [0, 1, 2]
    add(scheduler, make_sequence(4))
    assert keys(scheduler.admit(now=0)) == [4]


def test_batch_sequences_encode_few_pictures_while_interactive_ones_are_there() -> None:
    """A new picture waits for those that are being encoded."""
    limits = replace(LIMITS, max_pictures=8)
    scheduler = make_scheduler(num_slots=16, limits=limits)
    batch = (make_sequence(k, picture=bytes([k]), priority="batch") for k in range(9))
    add(scheduler, *batch, make_sequence(9, picture=bytes([0])), make_sequence(10, picture=b"new"))
    started = [keys(scheduler.admit(now=0)) for _ in range(3)]
    assert started == [[9, 10, 0, 1, 2], [3, 4], [5, 6]]
    scheduler.cancel([(b"client", 9), (b"client", 10)])
    assert keys(scheduler.admit(now=0)) == [7, 8]


def test_a_picture_at_a_time_is_enough_for_batch_sequences_to_start() -> None:
    """With 8-bit weights, a step encodes one picture."""
    scheduler = make_scheduler(limits=replace(LIMITS, max_pictures=1))
    add(scheduler, make_sequence(0, picture=b"a"))
    assert keys(scheduler.admit(now=0)) == [0]
    add(scheduler, make_sequence(1, picture=b"b", priority="batch"))
    assert keys(scheduler.admit(now=0)) == [1]


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


def test_the_highest_sequences_move_into_the_free_slots_below_them() -> None:
    """The others stay, since a move copies all tokens of a sequence."""
    scheduler = make_scheduler(num_slots=6)
    add(scheduler, *(make_sequence(key) for key in range(6)))
    scheduler.assign_slots(scheduler.admit(now=0))
    scheduler.cancel([(b"client", key) for key in (1, 2, 4)])
    scheduler.close_gaps()
    assert {s.request.key: s.slot for s in scheduler.running} == {0: 0, 3: 2, 5: 1}
    assert [scheduler.slots.allocate() for _ in range(3)] == [3, 4, 5]


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

    @rule(
        num_tokens=st.integers(1, 120),
        picture=st.sampled_from([b"a", b"b", b"c"]),
        group=st.sampled_from([None, 100, 200]),
        priority=st.sampled_from(get_args(Priority)),
    )
    def arrive(
        self, num_tokens: int, picture: bytes, group: int | None, priority: Priority
    ) -> None:
        sequence = make_sequence(
            self.next_key,
            num_tokens,
            picture,
            float(self.next_key + 20),
            group=group,
            priority=priority,
        )
        if self.scheduler.can_add(sequence):
            self.scheduler.add(sequence)
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

    @rule()
    def move(self) -> None:
        self.scheduler.close_gaps()
        placed = [s.held_slot for s in self.scheduler.running if s.slot is not None]
        assert sorted(placed) == list(range(len(placed)))

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

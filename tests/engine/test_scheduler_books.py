"""No sequence of operations makes the scheduler lose a sequence or share a slot."""

from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.ipc.engine_messages import Priority
from harness.scheduling import keys, make_scheduler, make_sequence


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

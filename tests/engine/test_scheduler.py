"""The scheduler: the queue keeps its order and its limits."""

from dataclasses import replace

import pytest

from harness.scheduling import LIMITS, add, keys, make_scheduler, make_sequence


def test_sequences_start_in_the_order_of_arrival() -> None:
    scheduler = make_scheduler(num_slots=2)
    add(scheduler, *(make_sequence(key) for key in range(3)))
    assert keys(scheduler.admit(now=0)) == [0, 1]
    assert keys(scheduler.waiting) == [2]


def test_sequences_gather_for_some_steps_while_many_run() -> None:
    """One pass that starts several costs a CUDA device little more than one that starts one."""
    scheduler = make_scheduler(num_slots=9, limits=replace(LIMITS, steps_between_starts=2))
    for key in range(2):  # few sequences run, so both start at once
        add(scheduler, make_sequence(key, picture=b"%d" % key))
        assert keys(scheduler.admit(now=0)) == [key]
    add(scheduler, make_sequence(2))
    assert [keys(scheduler.admit(now=0)) for _ in range(3)] == [[], [], [2]]
    add(scheduler, make_sequence(3), make_sequence(4))  # as many as one pass encodes
    assert keys(scheduler.admit(now=0)) == [3, 4]


def test_a_step_prefills_no_more_prompt_tokens_than_its_limit() -> None:
    """Running rows keep their pace even if many prompts arrive at once."""
    scheduler = make_scheduler(num_slots=4)
    add(scheduler, *(make_sequence(key, size) for key, size in enumerate((60, 60, 40, 1))))
    started = [keys(scheduler.admit(now=0)) for _ in range(3)]
    assert started == [[0], [1, 2], [3]]


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

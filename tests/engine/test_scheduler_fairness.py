"""The scheduler shares slots and steps among requests, detections and batches."""

from dataclasses import replace

from app.engine.scheduler import Scheduler
from harness.scheduling import LIMITS, add, keys, make_scheduler, make_sequence


def test_rows_of_a_detection_take_half_of_a_step_while_others_are_there() -> None:
    """An answer that is being written waits for every prompt of a step."""
    scheduler = make_scheduler(num_slots=9)
    add(scheduler, *(make_sequence(key, 30, group=100) for key in range(4)))
    assert keys(scheduler.admit(now=0)) == [0, 1, 2]
    add(scheduler, make_sequence(9, 30), *(make_sequence(k, 20, group=200) for k in (10, 11, 12)))
    started = [keys(scheduler.admit(now=0)) for _ in range(3)]
    assert started == [[9, 10, 3], [11, 12], []]


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


def test_a_request_after_a_batch_sequence_gets_no_credit() -> None:
    """A batch sequence starts late, with a turn that is long past."""
    scheduler = make_scheduler(num_slots=1)
    add(scheduler, make_sequence(0, priority="batch"))
    add(scheduler, *(make_sequence(key, group=100) for key in range(1, 5)))
    assert start_one_by_one(scheduler) == [1, 2, 3, 4, 0]
    add(scheduler, *(make_sequence(key, group=100) for key in (5, 6)))
    add(scheduler, *(make_sequence(key, group=200) for key in (10, 11)))
    assert start_one_by_one(scheduler) == [10, 5, 11, 6]


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
    """A new picture waits for those that are being encoded. Cached pictures do not count."""
    limits = replace(LIMITS, max_pictures=8)
    scheduler = make_scheduler(num_slots=24, limits=limits, cached=[b"a", b"b", b"c"])
    pictures = [b"a", b"b", b"c", *(bytes([k]) for k in range(9))]
    batch = (make_sequence(k, picture=p, priority="batch") for k, p in enumerate(pictures, -3))
    add(scheduler, *batch, make_sequence(9, picture=bytes([0])), make_sequence(10, picture=b"new"))
    started = [keys(scheduler.admit(now=0)) for _ in range(3)]
    assert started == [[9, 10, -3, -2, -1, 0, 1, 2], [3, 4], [5, 6]]
    scheduler.cancel([(b"client", 9), (b"client", 10)])
    assert keys(scheduler.admit(now=0)) == [7, 8]


def test_a_picture_at_a_time_is_enough_for_batch_sequences_to_start() -> None:
    """With 8-bit weights, a step encodes one picture."""
    scheduler = make_scheduler(limits=replace(LIMITS, max_pictures=1))
    add(scheduler, make_sequence(0, picture=b"a"))
    assert keys(scheduler.admit(now=0)) == [0]
    add(scheduler, make_sequence(1, picture=b"b", priority="batch"))
    assert keys(scheduler.admit(now=0)) == [1]

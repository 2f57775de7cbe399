"""The number of requests at once follows what the service accepts."""

from harness.scripted_service import FakeTime
from kosmos2_client.batch.pacing import Pacing


def answer(pacing: Pacing, count: int) -> None:
    for _ in range(count):
        pacing.answered()


def test_the_limit_doubles_per_round_up_to_its_maximum() -> None:
    pacing = Pacing(40, FakeTime().clock)
    limits = []
    for _ in range(4):
        limits.append(pacing.limit)
        answer(pacing, pacing.limit)
    assert limits == [8, 16, 32, 40]


def test_the_limit_starts_at_a_smaller_maximum() -> None:
    assert Pacing(1, FakeTime().clock).limit == 1


def test_a_burst_of_rejections_reduces_the_limit_once() -> None:
    """All of them were sent before the first rejection arrived."""
    time = FakeTime()
    pacing = Pacing(40, time.clock)
    answer(pacing, 32)
    sent_at = time.clock()
    time.advance(1)
    for _ in range(10):
        pacing.rejected(sent_at, None)
    assert pacing.limit == 30
    answer(pacing, 31)
    assert pacing.limit == 31  # it grows by one per round now


def test_nothing_is_sent_before_retry_after() -> None:
    time = FakeTime()
    pacing = Pacing(8, time.clock)
    pacing.rejected(time.clock(), 5.0)
    pacing.rejected(time.clock(), 2.0)
    assert pacing.pause_s == 5.0
    time.advance(5)
    assert pacing.pause_s == 0


def test_a_service_that_does_not_answer_is_probed_less_and_less() -> None:
    time = FakeTime()
    pacing = Pacing(8, time.clock)
    pauses = []
    for _ in range(7):
        pacing.lost(time.clock())
        pauses.append(pacing.pause_s)
        time.advance(pauses[-1])
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    assert pacing.limit == 1
    pacing.answered()
    pacing.lost(time.clock())
    assert pacing.pause_s == 0.5

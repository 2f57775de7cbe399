"""The ledger gives every request exactly one fate."""

import pytest

from reliability.attempts import Attempt
from reliability.client import Ending
from reliability.ledger import VIOLATIONS, Fate, Ledger, count_fates
from reliability.questions import Question

GOOD = Question(b"", {"task": "brief_caption"})
BAD = Question(b"no picture", {"task": "brief_caption"}, refusal="invalid_image")
ANSWER = {"id": "reference", "text": "a circle", "timings": {"total_s": 1.0}}
REPEATED = ANSWER | {"id": "1", "timings": {"total_s": 9.0}}

PATIENT, SLOW = Attempt("1", GOOD), Attempt("1", GOOD, manner="sends_slowly")
EXCUSED = {"1"}


def answered(**changes: str) -> Ending:
    return Ending("answer", 200, answer=REPEATED | changes, num_ends=1)


def refused(code: str) -> Ending:
    return Ending("problem", 503, code, num_ends=1)


FATES: list[tuple[Fate, Attempt, Ending, set[str], int]] = [
    ("completed", PATIENT, answered(), set(), 1),
    ("completed", PATIENT, answered(), EXCUSED, 0),
    ("answered_differently", PATIENT, answered(text="a square"), set(), 1),
    ("answered_differently", PATIENT, answered(id="2"), set(), 1),
    ("answered_differently", Attempt("1", BAD), answered(), set(), 1),
    ("refused", PATIENT, refused("overloaded"), set(), 1),
    ("refused", Attempt("1", BAD), refused("invalid_image"), set(), 1),
    ("refused", SLOW, refused("request_timeout"), set(), 1),
    ("refused_wrongly", PATIENT, refused("request_timeout"), set(), 1),
    ("refused_wrongly", PATIENT, refused("unavailable"), set(), 1),
    ("refused_wrongly", PATIENT, refused("engine_failure"), EXCUSED, 1),
    ("left", PATIENT, Ending("left"), set(), 1),
    ("lost", PATIENT, Ending("cut"), set(), 1),
    ("lost", PATIENT, Ending("cut", 200), {"2"}, 1),
    ("lost_with_its_process", PATIENT, Ending("cut"), EXCUSED, 0),
    ("hung", PATIENT, Ending("late"), EXCUSED, 0),
    ("broken", PATIENT, Ending("broken", 200), set(), 1),
    ("answered_twice", PATIENT, Ending("answer", 200, None, REPEATED, num_ends=2), set(), 1),
    ("answered_twice", PATIENT, answered(), set(), 2),
]


@pytest.mark.parametrize(("fate", "attempt", "ending", "excused", "times_logged"), FATES)
def test_the_fate_of_a_request(
    fate: Fate, attempt: Attempt, ending: Ending, excused: set[str], times_logged: int
) -> None:
    """It depends on the client's view, the request, and the killed process."""
    ledger = Ledger({GOOD: ANSWER}, [(attempt, ending)], excused)
    (record,) = ledger.records({"1": times_logged})
    assert record.fate == fate


def test_every_violation_has_a_test_case() -> None:
    """A fate without a case above could remain undetected."""
    assert {fate for fate, *_ in FATES} >= set(VIOLATIONS)


def test_every_sent_request_is_counted_once() -> None:
    """Sums that do not add up would hide losses."""
    ledger = Ledger({GOOD: ANSWER}, [(attempt, ending) for _, attempt, ending, _, _ in FATES])
    counts = count_fates(ledger.records({}))
    ends = [counts[name] for name in ("completed", "lost_with_their_process", *VIOLATIONS)]
    refused_or_left = [*counts["refused"].values(), *counts["left"].values()]
    assert sum(ends) + sum(refused_or_left) == counts["sent"] == len(FATES)

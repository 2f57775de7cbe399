"""The account of a chaos run: every request that was sent, and its fate."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.answers import are_same
from reliability.attempts import Attempt
from reliability.client import Ending
from reliability.questions import Question

Fate = Literal[
    "completed", "refused", "left", "lost_with_its_process",
    "lost", "hung", "answered_twice", "answered_differently", "refused_wrongly", "broken",
]  # fmt: skip

VIOLATIONS: tuple[Fate, ...] = (
    "lost", "hung", "answered_twice", "answered_differently", "refused_wrongly", "broken",
)  # fmt: skip
"""Fates that no request may have, regardless of the faults."""


@dataclass(frozen=True)
class Record:
    """One request and its fate."""

    attempt: Attempt
    ending: Ending
    fate: Fate


@dataclass
class Ledger:
    """Records every request and its end.

    Attributes:
        answers: the answer to each good question, recorded before the first fault.
        endings: of all attempts so far.
        excused: ids of requests whose own HTTP process was killed while it handled them.
    """

    answers: Mapping[Question, dict[str, Any]]
    endings: list[tuple[Attempt, Ending]] = field(default_factory=list)
    excused: set[str] = field(default_factory=set)

    def records(self, times_logged: Mapping[str, int]) -> list[Record]:
        """Return every attempt with its fate.

        Args:
            times_logged: how often the service logged the end of each request id.
        """
        return [
            Record(attempt, ending, self._fate(attempt, ending, times_logged))
            for attempt, ending in self.endings
        ]

    def _fate(self, attempt: Attempt, ending: Ending, times_logged: Mapping[str, int]) -> Fate:
        # First: two answers are wrong even if both are right.
        if ending.num_ends > 1 or times_logged.get(attempt.request_id, 0) > 1:
            return "answered_twice"
        if ending.kind == "answer":
            return self._fate_of_answer(attempt, ending)
        if ending.kind == "problem":
            is_permitted = ending.code in attempt.permitted_refusals
            return "refused" if is_permitted else "refused_wrongly"
        if ending.kind == "cut":
            return "lost_with_its_process" if attempt.request_id in self.excused else "lost"
        fates: dict[str, Fate] = {"left": "left", "late": "hung", "broken": "broken"}
        return fates[ending.kind]

    def _fate_of_answer(self, attempt: Attempt, ending: Ending) -> Fate:
        reference = self.answers.get(attempt.question)
        # Without a reference the question is invalid and should have been rejected. The id is
        # compared, because another request may have the same answer.
        is_same = (
            reference is not None
            and ending.answer is not None
            and ending.answer["id"] == attempt.request_id
            and are_same(ending.answer, reference)
        )
        return "completed" if is_same else "answered_differently"


def count_fates(records: list[Record]) -> dict[str, Any]:
    """Return the number of requests per fate, of refusals per code and of disconnects per manner.

    `accepted` counts the requests that were sent completely and not refused.
    """
    fates = Counter(record.fate for record in records)
    refused = Counter(r.ending.code for r in records if r.fate == "refused")
    left = Counter(r.attempt.manner for r in records if r.fate == "left")
    return {
        "sent": len(records),
        "accepted": len(records) - fates["refused"] - left["leaves_sending"],
        "completed": fates["completed"],
        "refused": dict(sorted(refused.items(), key=str)),
        "left": dict(sorted(left.items())),
        "lost_with_their_process": fates["lost_with_its_process"],
        **{fate: fates[fate] for fate in VIOLATIONS},
    }

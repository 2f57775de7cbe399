"""The account of a chaos run: every request that was sent, one by one, and what became of it."""

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
"""Fates that no request may meet, whatever happens."""


@dataclass(frozen=True)
class Record:
    """One request and its fate."""

    attempt: Attempt
    ending: Ending
    fate: Fate


@dataclass
class Ledger:
    """Keeps what is known of every request.

    Attributes:
        answers: the undisturbed answer to each good question.
        endings: of all attempts so far.
        excused: request ids of attempts whose own HTTP process was killed under them.
    """

    answers: Mapping[Question, dict[str, Any]]
    endings: list[tuple[Attempt, Ending]] = field(default_factory=list)
    excused: set[str] = field(default_factory=set)

    def records(self, times_logged: Mapping[str, int]) -> list[Record]:
        """The fate of every attempt.

        Args:
            times_logged: how often the service's log tells of the end of each request id.
        """
        return [
            Record(attempt, ending, self._fate(attempt, ending, times_logged))
            for attempt, ending in self.endings
        ]

    def _fate(self, attempt: Attempt, ending: Ending, times_logged: Mapping[str, int]) -> Fate:
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
        is_same = (
            reference is not None
            and ending.answer is not None
            and ending.answer["id"] == attempt.request_id
            and are_same(ending.answer, reference)
        )
        return "completed" if is_same else "answered_differently"


def count_fates(records: list[Record]) -> dict[str, Any]:
    """How many requests met each fate, refusals by code and leavers by manner.

    `accepted` are those that were sent whole and not refused.
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

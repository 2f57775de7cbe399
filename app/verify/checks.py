"""The results of `kosmos2 verify`, and the comparison of an answer with the recorded one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.verify.recording import Entity, RecordedAnswer

Outcome = Literal["ok", "differs", "not checked"]

LOGIT_TOLERANCE = 1e-3
"""Largest difference from a recorded logit in float32; in 16 bits differences are only printed."""

_LONGEST_QUOTE = 70
TIE_GAPS: Mapping[str, float] = {"float32": 1e-4, "float16": 0.1, "bfloat16": 0.5}
"""Two tokens are tied if their logits differ by less than the rounding of the dtype moves them."""


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was checked.
        detail: what was found, one line.
    """

    name: str
    outcome: Outcome
    detail: str

    def __str__(self) -> str:
        return f"{self.outcome:<12}{self.name}: {self.detail}"


@dataclass(frozen=True)
class GivenAnswer:
    """An answer of the checkpoint on this machine.

    Attributes:
        new_token_ids: `None` over HTTP, where answers have no ids.
        logits: values at the steps and ids of the recorded logits.
        tie: logit difference of the two tokens at the first different step; `None` without one.
    """

    text: str
    entities: tuple[Entity, ...]
    markup: str
    new_token_ids: tuple[int, ...] | None = None
    logits: tuple[float, ...] = ()
    tie: float | None = None


@dataclass
class Tally:
    """Counts of compared answers.

    Attributes:
        num_equal: answers with the recorded ids, text and entities.
        ties: logit differences of answers that first differ where two tokens are tied.
        wrong: one line per other difference.
        logit_differences: absolute differences from the recorded logits.
    """

    num_answers: int = 0
    num_equal: int = 0
    ties: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    logit_differences: list[float] = field(default_factory=list)

    def add(self, recorded: RecordedAnswer, given: GivenAnswer, dtype: str) -> None:
        """Compare an answer with the recorded one."""
        self.num_answers += 1
        differences = differences_of(recorded, given)
        if not differences:
            self.num_equal += 1
        elif given.tie is not None and given.tie < TIE_GAPS[dtype]:
            self.ties.append(given.tie)
            return  # later logits belong to another history
        else:
            self.wrong += [f"{recorded.name}: {difference}" for difference in differences]
        pairs = zip(recorded.logits, given.logits, strict=False)
        gaps = [abs(value - logit[2]) for logit, value in pairs]
        self.logit_differences += [gap for gap in gaps if not math.isnan(gap)]  # a longer answer

    def checks(self, name: str, dtype: str) -> list[Check]:
        """Return the line of the answers, one line per difference, and the line of the logits."""
        detail = f"{self.num_equal} of {self.num_answers} answers equal"
        if self.ties:
            detail += f", {len(self.ties)} different at a tie (gap up to {max(self.ties):.4f})"
        found = [Check(name, "differs" if self.wrong else "ok", detail)]
        found += [Check(name, "differs", line) for line in self.wrong]
        if self.logit_differences:
            largest = max(self.logit_differences)
            is_wrong = dtype == "float32" and largest > LOGIT_TOLERANCE
            counted = f"{len(self.logit_differences)} recorded logits, largest difference "
            found.append(
                Check(f"{name}, logits", "differs" if is_wrong else "ok", f"{counted}{largest:.6f}")
            )
        return found


def differences_of(recorded: RecordedAnswer, given: GivenAnswer) -> list[str]:
    """Return one sentence per difference: ids, text, entities, markup."""
    found = []
    if recorded.new_token_ids is not None and given.new_token_ids is not None:
        found += _different_ids(recorded.new_token_ids, given.new_token_ids)
    if given.text != recorded.text:
        found.append(f"text is {_quoted(given.text)}, recorded {_quoted(recorded.text)}")
    if given.entities != recorded.entities:
        found.append(
            f"entities are {_quoted(_in_words(given.entities))}, "
            f"recorded {_quoted(_in_words(recorded.entities))}"
        )
    if not found and given.markup != recorded.markup:
        found.append(f"markup is {_quoted(given.markup)}, recorded {_quoted(recorded.markup)}")
    return found


def _different_ids(recorded: Sequence[int], given: Sequence[int]) -> list[str]:
    if recorded == given:
        return []
    pairs = enumerate(zip(recorded, given, strict=False))
    step = next((i for i, (right, ours) in pairs if right != ours), None)
    if step is None:
        return [f"{len(given)} tokens, recorded {len(recorded)}"]
    return [f"token {step} is {given[step]}, recorded {recorded[step]}"]


def _in_words(entities: Sequence[Entity]) -> str:
    return "; ".join(f"{phrase} {_boxes(boxes)}" for phrase, _, boxes in entities) or "none"


def _boxes(boxes: Sequence[Sequence[float]]) -> str:
    return " ".join("[" + ", ".join(f"{edge:.3f}" for edge in box) + "]" for box in boxes)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")


def summary_of(checks: Sequence[Check]) -> dict[Outcome, int]:
    """Return the number of checks per outcome.

    >>> summary_of([Check("files", "ok", "all"), Check("answers", "differs", "one")])
    {'ok': 1, 'differs': 1, 'not checked': 0}
    """
    counts: dict[Outcome, int] = {"ok": 0, "differs": 0, "not checked": 0}
    for check in checks:
        counts[check.outcome] += 1
    return counts


def as_json(check: Check) -> dict[str, Any]:
    """Return a check as a JSON object."""
    return {"name": check.name, "outcome": check.outcome, "detail": check.detail}

"""Attempts: a question, and the behaviour of the client that sends it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reliability.questions import BodyKind, Question

Manner = Literal["patient", "leaves_sending", "leaves_waiting", "leaves_reading", "sends_slowly"]

_SHARE_OF_BAD = 0.08
# Shares. `sends_slowly` is missing, because a fault of its own uses it (wire_faults.py).
_MANNERS: dict[Manner, float] = {
    "patient": 0.85,
    "leaves_sending": 0.05,
    "leaves_waiting": 0.05,
    "leaves_reading": 0.05,
}
_LONGEST_STAY_S = 0.5


@dataclass(frozen=True)
class Attempt:
    """One request that is sent once.

    Attributes:
        request_id: unique; the service logs it, too.
        is_streaming: whether the client requests server-sent events.
        manner: the behaviour of the client.
        stays_s: seconds until a client that disconnects early does so.
    """

    request_id: str
    question: Question
    body_kind: BodyKind = "form"
    is_streaming: bool = False
    manner: Manner = "patient"
    stays_s: float = 0.0

    @property
    def permitted_refusals(self) -> set[str]:
        """Error codes that the service may answer with; `overloaded` is always permitted.

        >>> sorted(Attempt("1", Question(b"", {}), manner="sends_slowly").permitted_refusals)
        ['overloaded', 'request_timeout']
        """
        slow = {"request_timeout"} if self.manner == "sends_slowly" else set()
        own = {self.question.refusal} if self.question.refusal else set()
        # A burst of another track may fill the queue at any time.
        return {"overloaded"} | slow | own


def random_attempts(
    good: Sequence[Question], bad: Sequence[Question], seed: int
) -> Iterator[Attempt]:
    """Yield requests of all kinds without end, the same for the same seed.

    Args:
        bad: questions that the service must reject.

    >>> next(random_attempts([Question(b"", {})], [Question(b"", {})], seed=1)).request_id
    'chaos-1-0'
    """
    rng = random.Random(seed)
    number = 0
    while True:
        is_bad = rng.random() < _SHARE_OF_BAD
        manner = rng.choices(list(_MANNERS), list(_MANNERS.values()))[0]
        yield Attempt(
            f"chaos-{seed}-{number}",
            rng.choice(bad if is_bad else good),
            rng.choice(("form", "json")),
            # Only the reader of a stream can disconnect between two events.
            manner == "leaves_reading" or rng.random() < 0.5,
            manner,
            rng.uniform(0, _LONGEST_STAY_S),
        )
        number += 1

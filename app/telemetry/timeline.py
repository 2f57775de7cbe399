"""The phases of a request with their times; its `timing` field and its trace are made of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A part of a request's time.

    Attributes:
        name: for example `queue`.
        began_at: seconds on the monotonic clock.
        ended_at: seconds on the monotonic clock.
    """

    name: str
    began_at: float
    ended_at: float


class Timeline:
    """The phases of one request; each phase begins when the previous one ends.

    >>> timeline = Timeline(received_at=10.0)
    >>> timeline.end("admission", 10.5)
    >>> timeline.end("picture", 12.0)
    >>> timeline.seconds("picture"), timeline.reached_at
    (1.5, 12.0)

    Args:
        received_at: time at which the request's headers were complete, seconds on the monotonic
            clock.
    """

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.phases: list[Phase] = []

    @property
    def reached_at(self) -> float:
        """Time at which the last phase ended; `received_at` before the first one has."""
        return self.phases[-1].ended_at if self.phases else self.received_at

    def end(self, name: str, at: float) -> None:
        """End the current phase and begin the next one.

        Args:
            at: end of the phase, seconds on the monotonic clock.
        """
        # Another process may report an earlier time; a phase must not have a negative duration.
        self.phases.append(Phase(name, self.reached_at, max(at, self.reached_at)))

    def seconds(self, name: str) -> float:
        """Return the duration of an ended phase, or 0 if no phase has that name."""
        return sum(phase.ended_at - phase.began_at for phase in self.phases if phase.name == name)

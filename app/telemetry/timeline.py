"""When a request was in which phase: the one record that its answer and its trace are made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A part of a request's time.

    Attributes:
        name: such as `queue`.
        began_at: on the monotonic clock, seconds.
        ended_at: likewise.
    """

    name: str
    began_at: float
    ended_at: float


class Timeline:
    """The phases of one request; each begins when the one before it ends.

    >>> timeline = Timeline(received_at=10.0)
    >>> timeline.end("admission", 10.5)
    >>> timeline.end("picture", 12.0)
    >>> timeline.seconds("picture"), timeline.reached_at
    (1.5, 12.0)

    Args:
        received_at: when its headers were complete, on the monotonic clock, seconds.
    """

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.phases: list[Phase] = []

    @property
    def reached_at(self) -> float:
        """When the last phase ended."""
        return self.phases[-1].ended_at if self.phases else self.received_at

    def end(self, name: str, at: float) -> None:
        """A phase ends, and the next begins.

        Args:
            name: of the phase that ends.
            at: when; a time before the phase began, from another process, counts as its beginning.
        """
        self.phases.append(Phase(name, self.reached_at, max(at, self.reached_at)))

    def seconds(self, name: str) -> float:
        """How long a phase took that has ended."""
        return sum(phase.ended_at - phase.began_at for phase in self.phases if phase.name == name)

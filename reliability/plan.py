"""What chaos does when: faults on several tracks, those of a track one after the other."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reliability.faults import (
    Fault,
    hang_engine,
    kill_engine,
    kill_http,
    kill_picture_process,
    pause_engine,
    pause_http,
)
from reliability.wire_faults import (
    burst,
    garbage,
    half_requests,
    oversized_bodies,
    slow_senders,
)

HANGS_FROM_S = 120.0
"""A hang takes the watchdog half a minute to see: shorter runs go without."""

SHORTEST_GAP_S = 0.5


@dataclass(frozen=True)
class Track:
    """Faults that never meet each other.

    Attributes:
        faults: each as often as it stands here, in random order.
        longest_gap_s: from the end of one to the beginning of the next.
    """

    faults: Sequence[Fault]
    longest_gap_s: float

    def schedule(self, seed: str) -> Iterator[tuple[float, Fault]]:
        """A gap in seconds and the fault behind it, without end, the same for the same seed."""
        rng = random.Random(seed)
        while True:
            for fault in rng.sample(self.faults, len(self.faults)):
                yield rng.uniform(SHORTEST_GAP_S, self.longest_gap_s), fault


ENGINE_FAULTS = (*3 * (kill_engine,), pause_engine)
HTTP_FAULTS = (kill_http, *3 * (pause_http,), *2 * (kill_picture_process,))
WIRE_FAULTS = (garbage, half_requests, slow_senders, burst, oversized_bodies)


@dataclass(frozen=True)
class ChaosPlan:
    """What is to be done to the service.

    Attributes:
        seconds: of load and faults; what is under way then comes to its end.
    """

    seconds: float
    seed: int

    @property
    def tracks(self) -> dict[str, Track]:
        """What goes on at the same time; an engine is left to work for a while between deaths.

        >>> sorted(ChaosPlan(60, 0).tracks)
        ['engine', 'http', 'wire']
        """
        hangs = (hang_engine,) if self.seconds >= HANGS_FROM_S else ()
        return {
            "engine": Track((*ENGINE_FAULTS, *hangs), longest_gap_s=20.0),
            "http": Track(HTTP_FAULTS, longest_gap_s=6.0),
            "wire": Track(WIRE_FAULTS, longest_gap_s=6.0),
        }

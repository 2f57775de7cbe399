"""The schedule of chaos: several tracks of faults in parallel, one fault at a time per track."""

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
    send_burst,
    send_garbage,
    send_half_requests,
    send_oversized_bodies,
    send_slow_bodies,
)

HANGS_FROM_S = 120.0
"""The watchdog takes half a minute to notice a hang, so shorter runs have none."""

SHORTEST_GAP_S = 0.5


@dataclass(frozen=True)
class Track:
    """Faults that are injected one at a time.

    Attributes:
        faults: in random order; a repeated entry makes a fault more frequent.
        longest_gap_s: from the end of a fault to the start of the next.
    """

    faults: Sequence[Fault]
    longest_gap_s: float

    def schedule(self, seed: str) -> Iterator[tuple[float, Fault]]:
        """Yield gaps in seconds and the faults after them, without end, fixed by the seed."""
        rng = random.Random(seed)
        while True:
            # A shuffled round instead of independent choices, so that short runs have every fault,
            # too.
            for fault in rng.sample(self.faults, len(self.faults)):
                yield rng.uniform(SHORTEST_GAP_S, self.longest_gap_s), fault


ENGINE_FAULTS = (*3 * (kill_engine,), pause_engine)
HTTP_FAULTS = (kill_http, *3 * (pause_http,), *2 * (kill_picture_process,))
WIRE_FAULTS = (
    send_garbage,
    send_half_requests,
    send_slow_bodies,
    send_burst,
    send_oversized_bodies,
)


@dataclass(frozen=True)
class ChaosPlan:
    """The duration and the faults of a chaos run.

    Attributes:
        seconds: of load and faults; requests and faults in progress then run to their end.
    """

    seconds: float
    seed: int

    @property
    def tracks(self) -> dict[str, Track]:
        """The parallel tracks; the long gaps let an engine work for a while between its deaths.

        >>> sorted(ChaosPlan(60, 0).tracks)
        ['engine', 'http', 'wire']
        """
        hangs = (hang_engine,) if self.seconds >= HANGS_FROM_S else ()
        return {
            "engine": Track((*ENGINE_FAULTS, *hangs), longest_gap_s=20.0),
            "http": Track(HTTP_FAULTS, longest_gap_s=6.0),
            "wire": Track(WIRE_FAULTS, longest_gap_s=6.0),
        }

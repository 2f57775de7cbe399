"""What a soak saw, look by look, and whether anything grew."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from app.bench.results import Percentiles
from reliability.goals import MAX_MEMORY_CHANGE, MAX_NEW_DESCRIPTORS, MAX_NEW_THREADS
from reliability.processes import Usage

_MINUTE_S = 60.0


@dataclass(frozen=True)
class Row:
    """One look at a service under load.

    Attributes:
        at_s: since the load began.
        processes: what they take, by kind.
        num_answered: requests, since the last look.
        latency_s: of those answered; none without any.
    """

    at_s: float
    processes: Mapping[str, Usage]
    num_answered: int
    num_failed: int
    latency_s: Percentiles | None

    @property
    def total(self) -> Usage:
        """What all processes take together."""
        return sum(self.processes.values(), Usage())


@dataclass(frozen=True)
class Growth:
    """How far the last minutes are from the first one after all has settled.

    Single looks catch pictures being opened and clients coming and going: minutes are compared, in
    memory their means, in what is counted their lowest values.

    Attributes:
        settled_after_s: when the first of those minutes begins.
        resident_bytes: all processes together, the mean of that first minute.
        memory_change: the largest distance of any later minute from it, as a share.
        new_descriptors: in the last minute, over those in the first.
    """

    settled_after_s: float
    resident_bytes: float
    memory_change: float
    new_descriptors: int
    new_threads: int

    @property
    def violations(self) -> list[str]:
        """What was not to be."""
        found = []
        if self.memory_change > MAX_MEMORY_CHANGE:
            found.append(f"resident memory moved by {self.memory_change:.1%}")
        if self.new_descriptors > MAX_NEW_DESCRIPTORS:
            found.append(f"{self.new_descriptors} more descriptors than in the first minute")
        if self.new_threads > MAX_NEW_THREADS:
            found.append(f"{self.new_threads} more threads than in the first minute")
        return found


def growth_of(rows: Sequence[Row], settled_after_s: float) -> Growth:
    """How far a service has grown.

    Args:
        rows: looks, at least one after it has settled.
        settled_after_s: after which caches are full.

    Raises:
        ValueError: no look is so late.
    """
    minutes = _by_minute(rows, settled_after_s)
    first, last = minutes[0], minutes[-1]
    memory = [mean(usage.resident_bytes for usage in minute) for minute in minutes]
    return Growth(
        settled_after_s=settled_after_s,
        resident_bytes=memory[0],
        memory_change=max(abs(value / memory[0] - 1) for value in memory),
        new_descriptors=_lowest(last, "num_descriptors") - _lowest(first, "num_descriptors"),
        new_threads=_lowest(last, "num_threads") - _lowest(first, "num_threads"),
    )


def _by_minute(rows: Sequence[Row], settled_after_s: float) -> list[list[Usage]]:
    minutes = defaultdict[int, list[Usage]](list)
    for row in rows:
        if row.at_s >= settled_after_s:
            minutes[int((row.at_s - settled_after_s) // _MINUTE_S)].append(row.total)
    if not minutes:
        raise ValueError(f"no look after {settled_after_s:g} s")
    first, *others = [minutes[number] for number in sorted(minutes)]
    # One that has only begun has no mean to compare.
    return [first, *(minute for minute in others if 2 * len(minute) >= len(first))]


def _lowest(minute: Sequence[Usage], name: str) -> int:
    return min(int(getattr(usage, name)) for usage in minute)

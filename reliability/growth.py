"""The samples of a soak, and the check whether a resource grew."""

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
    """One sample of a service under load.

    Attributes:
        at_s: since the load began.
        processes: resource usage by kind of process.
        num_answered: requests since the last sample.
        latency_s: of the answered requests; `None` if there were none.
    """

    at_s: float
    processes: Mapping[str, Usage]
    num_answered: int
    num_failed: int
    latency_s: Percentiles | None

    @property
    def total(self) -> Usage:
        """Return the usage of all processes together."""
        return sum(self.processes.values(), Usage())


@dataclass(frozen=True)
class Growth:
    """The change between the first minute after settling and the later ones.

    Single samples catch pictures being decoded and clients connecting. So whole minutes are
    compared: the mean for memory, the lowest value for descriptors and threads.

    Attributes:
        settled_after_s: the start of the first of those minutes.
        resident_bytes: of all processes together, mean of that first minute.
        memory_change: the largest relative difference of a later minute.
        new_descriptors: the last minute minus the first.
    """

    settled_after_s: float
    resident_bytes: float
    memory_change: float
    new_descriptors: int
    new_threads: int

    @property
    def violations(self) -> list[str]:
        """Return the missed goals."""
        found = []
        if self.memory_change > MAX_MEMORY_CHANGE:
            found.append(f"resident memory changed by {self.memory_change:.1%}")
        if self.new_descriptors > MAX_NEW_DESCRIPTORS:
            found.append(f"{self.new_descriptors} more descriptors than in the first minute")
        if self.new_threads > MAX_NEW_THREADS:
            found.append(f"{self.new_threads} more threads than in the first minute")
        return found


def growth_of(rows: Sequence[Row], settled_after_s: float) -> Growth:
    """Return the growth of a service.

    Args:
        rows: at least one sample must be later than `settled_after_s`.
        settled_after_s: when the caches are full.

    Raises:
        ValueError: all samples are earlier.
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
        raise ValueError(f"no sample is later than {settled_after_s:g} s")
    first, *others = [minutes[number] for number in sorted(minutes)]
    # A minute with few samples has no reliable mean.
    return [first, *(minute for minute in others if 2 * len(minute) >= len(first))]


def _lowest(minute: Sequence[Usage], name: str) -> int:
    return min(int(getattr(usage, name)) for usage in minute)

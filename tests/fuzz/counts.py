"""Shows how many of what came to which end."""

from collections import Counter
from collections.abc import Mapping


def show_counts(counts: Mapping[str, Counter[str]]) -> None:
    """Print a table: a row for each kind, a column for each end, and the sums."""
    ends = sorted({end for row in counts.values() for end in row})
    rows = [*counts.items(), ("sum", sum(counts.values(), Counter[str]()))]
    print("\n" + " " * 24 + "".join(f"  {end:>7}" for end in ends))
    for name, row in rows:
        print(f"{name:24}" + "".join(f"  {row[end]:>{max(7, len(end))},}" for end in ends))

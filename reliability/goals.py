"""The goals of docs/reliability.md: the tools fail when one is missed, the page shows them."""

LEAST_GOODPUT = 0.9
"""Goodput at three times the capacity, as a share of that at the capacity."""

SETTLED_AFTER_S = 300.0
"""When the caches of a soaked service are full, and its growth begins to count."""

MAX_MEMORY_CHANGE = 0.03
"""Of resident memory during a soak, as a share."""

MAX_NEW_DESCRIPTORS = 5
MAX_NEW_THREADS = 1

FUZZ_COUNT = 500
"""Damaged copies of each file in a full run of `make fuzz`."""

LEAST_BAD_INPUTS = 22_000
LEAST_OVER_HTTP = 2_000
"""Of a full run."""

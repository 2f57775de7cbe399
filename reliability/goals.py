"""The goals of docs/reliability.md. The tools fail when a goal is missed; the page shows them."""

LEAST_GOODPUT = 0.9
"""Goodput at three times the capacity, relative to the goodput at capacity."""

SETTLED_AFTER_S = 300.0
"""When the caches of a soaked service are full, so that further growth counts."""

MAX_MEMORY_CHANGE = 0.03
"""Largest relative change of resident memory during a soak."""

MAX_NEW_DESCRIPTORS = 5
MAX_NEW_THREADS = 1

FUZZ_COUNT = 500
"""Damaged copies of each file in a full run of `make fuzz`."""

LEAST_BAD_INPUTS = 22_000
LEAST_OVER_HTTP = 2_000
"""Goals of a full run."""

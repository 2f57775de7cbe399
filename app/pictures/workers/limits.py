"""What a picture process may take, kept by the system itself.

A file of kilobytes can ask for gigabytes, or for hours: decoders follow a file's own numbers.
"""

import math
import resource
import time

PROCESSOR_S = 20
"""Seconds of processor time for one picture. The slowest honest one of 50 megapixels takes 5."""

_BASE_BYTES = 512 * 2**20
_BYTES_PER_PIXEL = 32
"""An honest picture takes up to 28: one of floats, with all that turns it into grey."""


def limit_memory(max_pixels: int) -> None:
    """Let allocations fail beyond what a picture of `max_pixels` takes; macOS does not obey.

    No core is written either: it would hold a user's picture.
    """
    num_bytes = _BASE_BYTES + _BYTES_PER_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_processor_time() -> None:
    """From now on the process has `PROCESSOR_S`; then the system ends it with SIGXCPU."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time()) + PROCESSOR_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))

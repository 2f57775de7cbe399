"""The limits of a picture process, enforced by the operating system.

A file of kilobytes can request gigabytes or hours, because decoders trust the numbers in a file.
"""

import math
import resource
import time

PROCESSOR_S = 20
"""Processor time for one picture. The slowest harmless picture of 50 megapixels takes 5 s."""

_BASE_BYTES = 512 * 2**20
_BYTES_PER_PIXEL = 32
"""A harmless picture takes up to 28: floats that are converted to grey."""


def limit_memory(max_pixels: int) -> None:
    """Make allocations fail beyond the needs of a picture of `max_pixels`; ignored by macOS.

    This also disables core files, which would contain a user's picture.
    """
    num_bytes = _BASE_BYTES + _BYTES_PER_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_processor_time() -> None:
    """Allow `PROCESSOR_S` from now on; after that the system kills the process with SIGXCPU."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time()) + PROCESSOR_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))

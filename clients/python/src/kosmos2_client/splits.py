"""Divides pictures at random, but the same way each time: by a hash of their paths."""

import hashlib
import os


def rank(path: str) -> int:
    """Return a number of 64 bits that looks random and only depends on the path.

    A checksum such as CRC would not do: its bits repeat in names that are counted up.
    """
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), "big")

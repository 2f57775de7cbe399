"""A set of picture names that needs about 100 bytes per name, for names of any length."""

import hashlib

_DIGEST_BYTES = 12
"""Among a million names, the probability that two share a digest is 6e-18."""


class NameSet:
    """Names that have been seen, as digests."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, name: str) -> bool:
        """Add a name, and return whether it is new."""
        before = len(self._digests)
        self._digests.add(_digest_of(name))
        return len(self._digests) > before


def _digest_of(name: str) -> bytes:
    # File names of Linux may be no valid Unicode.
    data = name.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()

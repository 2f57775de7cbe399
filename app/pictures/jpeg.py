"""Facts about a JPEG that Pillow does not report: its kind, and whether the file is complete."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

END = b"\xff\xd9"

_START_OF_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without content
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""Finds the end of a scan's data: a marker that is neither a stuffed byte nor a restart marker."""

_ALL_COEFFICIENTS = (1 << 64) - 1


@dataclass(frozen=True)
class _Segment:
    """A marker and its content, without the length."""

    marker: int
    content: bytes


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the markers of a JPEG up to the end of its last scan, including the end marker."""
    offset = 2
    while offset + 2 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF or marker in _ALONE:
            offset += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[offset + 2 : offset + 4])
        yield _Segment(marker, data[offset + 4 : offset + 2 + length])
        if marker == END[1]:
            return
        offset += 2 + length
        if marker == _START_OF_SCAN:
            found = _NEXT_MARKER.search(data, offset)
            offset = found.end() - 2 if found else len(data)


def unaccepted_kind(data: bytes) -> str | None:
    r"""Return the kind of a JPEG that is not decoded, `None` for one that is.

    >>> unaccepted_kind(b"\xff\xd8\xff\xc1\0\x0b\x0c\0\1\0\1\1\1\x11\0")
    'a JPEG of 12 bits'
    """
    for segment in _segments(data):
        if segment.marker in _FRAMES and segment.content:
            if segment.marker in _LOSSLESS_FRAMES:
                return "lossless JPEG"
            bits = segment.content[0]
            return f"a JPEG of {bits} bits" if bits != 8 else None
    return None


def lacks_end_only(data: bytes) -> bool:
    """Return whether a JPEG has all the scans that it needs and ends inside the last one.

    Only decoding shows whether that last scan is complete (`decode.py`).
    """
    missing: dict[int, int] = {}  # per component, the coefficients that no scan has had, as bits
    marker = 0
    for segment in _segments(data):
        marker = segment.marker
        if marker in _FRAMES:
            missing = dict.fromkeys(segment.content[6::3], _ALL_COEFFICIENTS)
        elif marker == _START_OF_SCAN:
            _count_scan(segment.content, missing)
    return marker == _START_OF_SCAN and bool(missing) and not any(missing.values())


def _count_scan(content: bytes, missing: dict[int, int]) -> None:
    if len(content) < 4:
        return
    first, last, approximation = content[-3:]
    if approximation & 0x0F:  # a later scan must add the lowest bits
        return
    for component in content[1 : 1 + 2 * content[0] : 2]:
        coefficients = ((1 << (last + 1)) - 1) & ~((1 << first) - 1)
        missing[component] = missing.get(component, 0) & ~coefficients


def with_endings(data: bytes) -> list[bytes]:
    """Return several complete files made from a JPEG without its end marker.

    Each adds different bits before the end. If all decode to the same pixels, none was missing.
    """
    whole = data.removesuffix(b"\xff")
    return [whole + bits * 64 + END for bits in (b"\x00", b"\x55", b"\xaa")]

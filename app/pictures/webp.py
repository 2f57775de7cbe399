"""Works around Pillow's error in WebP animations whose first frame is a part of the picture."""

_ANIMATION, _ALPHA = 0x02, 0x10
_FLAGS = 20
"""The offset of the flags in a file with an extended header."""


def is_animation(data: bytes) -> bool:
    """Return whether a file is a WebP with frames that may be smaller than the picture."""
    is_extended = data.startswith(b"RIFF") and data[8:16] == b"WEBPVP8X"
    return is_extended and len(data) > _FLAGS and bool(data[_FLAGS] & _ANIMATION)


def with_alpha(data: bytes) -> bytes:
    """Return an animation that declares alpha.

    Otherwise, if its frames are opaque, Pillow ignores that the area around them is transparent.
    """
    return data[:_FLAGS] + bytes([data[_FLAGS] | _ALPHA]) + data[_FLAGS + 1 :]

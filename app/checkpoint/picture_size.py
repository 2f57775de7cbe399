"""The size of the model's input picture; checkpoints of other sizes are rejected."""

PICTURE_SIDE = 224
"""Width and height, in pixels."""

PICTURE_BYTES = PICTURE_SIDE * PICTURE_SIDE * 3
"""Bytes of a decoded picture: 8 bits per channel, RGB."""

"""The picture in all generated files, as arrays."""

import numpy as np

HEIGHT, WIDTH = 37, 45
"""Odd, so that rows end inside the bytes, tiles and blocks of a codec."""

_Y, _X = np.mgrid[0:HEIGHT, 0:WIDTH]
LANDSCAPE = np.stack(
    [_X / (WIDTH - 1), _Y / (HEIGHT - 1), 1 - (_X + _Y) / (WIDTH + HEIGHT - 2)], -1
)
"""Smooth, with four different corners: (H, W, 3) of 0…1."""

ALPHA = (0.25 + 0.75 * (_Y + 2 * _X) / (_Y + 2 * _X).max()).round(6)
"""From 0.25 to opaque: (H, W) of 0…1."""

_N = np.arange(65536)
PALETTE_COLOURS = np.stack([(_N * 9973) % 65536, (_N * 4099 + 512) % 65536, 65535 - _N], -1)
"""Colours unrelated to their index: (65536, 3) of 16 bits."""

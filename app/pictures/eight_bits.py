"""Converts numbers of any type to 8-bit grey or colour."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_SPAN = 1e-300  # 255 divided by a smaller number is infinite
_NUMBERS_AT_ONCE = 2**22
"""Limits the memory of intermediate results, which have 8 bytes per number."""


def scaled_to_eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return unsigned samples of 1 to 16 bits as 8 bits, rounded; the shape stays.

    >>> scaled_to_eight_bits(np.array([0, 7, 15]), 4).tolist()
    [0, 119, 255]
    """
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    highest = 2**bits - 1
    table = ((np.arange(highest + 1) * 255 + highest // 2) // highest).astype(np.uint8)
    return _by_rows(lambda rows: np.take(table, rows), values)


def grey_of_numbers(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert numbers without a defined white to grey; the shape stays.

    Integers of 16 or more bits are divided by 257 if all lie within 0…65535. Floats are multiplied
    by 255 if all lie within 0…1. Otherwise the least finite value becomes black and the greatest
    becomes white.

    >>> grey_of_numbers(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 128, 255]
    """
    return _grey_of_integers(values) if values.dtype.kind in "iu" else _grey_of_floats(values)


def _grey_of_integers(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()
    if low < 0 or high > 65535 or values.dtype.itemsize == 1:
        return _stretched(values, float(low), float(high))
    return scaled_to_eight_bits(values, 16)


def _grey_of_floats(values: NDArray[Any]) -> NDArray[np.uint8]:
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return np.zeros(values.shape, np.uint8)
    low = float(values.min(where=is_finite, initial=np.inf))
    high = float(values.max(where=is_finite, initial=-np.inf))
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    return _stretched(values, low, high)


def _stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map `low` to black and `high` to white; a value that is not a number becomes black."""
    half_span = high / 2 - low / 2  # the whole span can exceed the largest float
    if half_span < _LEAST_SPAN:
        return np.zeros(values.shape, np.uint8)

    def stretch(rows: NDArray[Any]) -> NDArray[np.uint8]:
        with np.errstate(invalid="ignore"):  # which a signalling NaN raises
            floats = rows.astype(np.float64)
        numbers = np.nan_to_num(floats, nan=low, posinf=high, neginf=low)
        return np.rint((numbers / 2 - low / 2) * (255.0 / half_span)).astype(np.uint8)

    return _by_rows(stretch, values)


def _by_rows(
    convert: Callable[[NDArray[Any]], NDArray[np.uint8]], values: NDArray[Any]
) -> NDArray[np.uint8]:
    """Convert a block of rows at a time."""
    result = np.empty(values.shape, np.uint8)
    step = max(1, _NUMBERS_AT_ONCE * len(values) // max(values.size, 1))
    for start in range(0, len(values), step):
        result[start : start + step] = convert(values[start : start + step])
    return result

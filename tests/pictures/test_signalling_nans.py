"""Floats that are signalling NaNs, as in damaged files."""

import numpy as np

from app.pictures.eight_bits import grey_of_numbers


def test_a_signalling_nan_is_black_and_causes_no_warning() -> None:
    values = np.array([0, 0x7FA00000, 0x3F800000], np.uint32).view(np.float32)
    assert grey_of_numbers(values[:, None, None]).ravel().tolist() == [0, 0, 255]

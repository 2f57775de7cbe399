"""Checks how a checkpoint's processor prepares pictures: the service prepares them in one way."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.checkpoint.picture_size import PICTURE_SIDE

_NUM_CHANNELS = 3
_BICUBIC = 3  # Pillow's number

_SERVED: Mapping[str, Any] = MappingProxyType(
    {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
    }
)
"""The values of the published checkpoint, which are also the defaults of its processor."""

_SQUARE = {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
_SHORTEST_EDGE = {"shortest_edge": PICTURE_SIDE}
"""The default of the processor, which crops the longer edge unless `use_square_size` is set."""


def normalisation_of(settings: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the channels.

    Args:
        settings: of an image processor, as its file has them.

    Raises:
        KeyError: the mean or the deviation is missing.
        ValueError: a value is invalid, or the service would prepare pictures in another way.
    """
    for name, served in _SERVED.items():
        stored = settings.get(name)
        if stored is not None and not math.isclose(stored, served):
            raise ValueError(f"{name} is {stored!r}, but only {served!r} is supported")
    _check_size(settings)
    mean, std = (tuple(map(float, settings[name])) for name in ("image_mean", "image_std"))
    if not len(mean) == len(std) == _NUM_CHANNELS:
        raise ValueError("image_mean and image_std must have three numbers each")
    if not (all(map(math.isfinite, mean + std)) and min(std) > 0):
        raise ValueError("image_mean must be finite, and image_std finite and positive")
    return mean, std


def _check_size(settings: Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless the whole picture is squashed to the model's square."""
    size = settings.get("size") or _SHORTEST_EDGE
    if size != (_SHORTEST_EDGE if settings.get("use_square_size") else _SQUARE):
        raise ValueError(f"size is {size!r}, but only {_SQUARE!r} is supported")
    crop = settings.get("crop_size") or _SQUARE
    if settings.get("do_center_crop", True) and crop != _SQUARE:
        raise ValueError(f"crop_size is {crop!r}, but only {_SQUARE!r} is supported")

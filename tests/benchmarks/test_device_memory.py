"""Only one model is in a device's memory at a time."""

import gc
from weakref import ref

from benchmarks.device_memory import and_free


class Model:
    """Holds itself, as a model with its recordings does."""

    def __init__(self) -> None:
        self.itself = self


def test_what_a_measurement_held_is_gone_before_the_next_begins() -> None:
    """A card of 12 GB has no room for two models."""
    references: list[ref[Model]] = []

    def measure() -> int:
        model = Model()
        references.append(ref(model))
        return 7

    gc.disable()
    try:
        assert and_free(measure) == 7
    finally:
        gc.enable()
    assert references[0]() is None

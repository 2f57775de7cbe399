"""Only one model at a time is in a device's memory."""

import gc
from weakref import ref

from benchmarks.device_memory import and_free


class Model:
    """Refers to itself, like a model with its recordings."""

    def __init__(self) -> None:
        self.itself = self


def test_memory_of_a_measurement_is_freed_before_the_next_one() -> None:
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

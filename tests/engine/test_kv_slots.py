"""KV slots and the picture cache keep their limits."""

import pytest
import torch

from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache

SHAPE = KeyValueShape(num_layers=2, num_heads=3, head_width=4)


def make_slots(num_slots: int) -> KVSlots:
    return KVSlots(SHAPE, num_slots, 16, torch.float32, torch.device("cpu"))


def prefix_of(value: float, length: int = 5) -> torch.Tensor:
    return torch.full((2, 2, 3, length, 4), value)


def test_allocation_returns_the_lowest_free_slot() -> None:
    """Used slots stay close together, so that a decode step covers few free ones."""
    slots = make_slots(4)
    assert [slots.allocate() for _ in range(3)] == [0, 1, 2]
    slots.free(1)
    slots.free(0)
    assert [slots.allocate(), slots.allocate(), slots.allocate()] == [0, 1, 3]
    assert slots.num_used == 4


def test_no_slot_is_allocated_twice() -> None:
    slots = make_slots(1)
    slots.allocate()
    with pytest.raises(IndexError):
        slots.allocate()


def test_a_slot_is_copied_with_its_tokens_and_no_further() -> None:
    slots = make_slots(3)
    for slot, value in ((0, 1.0), (2, 2.0)):
        slots.write_prefix(slot, prefix_of(value, length=16))
        slots.token_ids[slot] = int(value)
    slots.copy(2, 0, num_tokens=7)
    for keys_and_values in slots.layers:
        assert (keys_and_values[:, 0, :, :7] == 2).all()
        assert (keys_and_values[:, 0, :, 7:] == 1).all()
        assert (keys_and_values[:, 1] == 0).all()
    assert slots.token_ids[0].tolist() == [2] * 7 + [1] * 9


def test_the_memory_of_slots_is_that_of_their_tokens() -> None:
    slots = make_slots(3)
    assert slots.num_bytes == 3 * 16 * SHAPE.bytes_per_token(torch.float32)


def test_the_cache_evicts_the_least_recently_used_picture() -> None:
    cache = PictureCache(max_bytes=2 * prefix_of(0).nbytes)
    cache.put(b"a", prefix_of(1))
    cache.put(b"b", prefix_of(2))
    cache.get(b"a")
    cache.put(b"c", prefix_of(3))
    assert (b"a" in cache, b"b" in cache, b"c" in cache) == (True, False, True)
    assert cache.num_bytes == cache.max_bytes


def test_a_picture_larger_than_the_cache_is_not_cached() -> None:
    """A cache of zero bytes is disabled."""
    cache = PictureCache(max_bytes=0)
    cache.put(b"a", prefix_of(1))
    assert cache.get(b"a") is None
    assert cache.num_bytes == 0

"""Where keys and values live: a fixed set of slots, allocated once, and the prefixes of pictures.

Every tensor keeps its address for the life of the process. A slot holds one sequence. What it holds
beyond the sequence's length is masked: its weight is zero, and it must be finite, since zero times
NaN is NaN. So a sequence whose numbers became infinite leaves a slot that is cleared first.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KeyValueShape:
    """The size of what one token leaves behind.

    Attributes:
        num_layers: of the decoder.
        num_heads: of one layer.
        head_width: of one head.
    """

    num_layers: int
    num_heads: int
    head_width: int

    def bytes_per_token(self, dtype: torch.dtype) -> int:
        """Keys and values of one token in all layers, bytes."""
        return 2 * self.num_layers * self.num_heads * self.head_width * dtype.itemsize

    def prefix_size(self, num_pictures: int, num_tokens: int) -> tuple[int, ...]:
        """The size of the prefixes of B pictures: (B, N, 2, H, P, D)."""
        return num_pictures, self.num_layers, 2, self.num_heads, num_tokens, self.head_width


class KVSlots:
    """S slots of L tokens each: keys and values, and the token ids themselves.

    Args:
        shape: of one token.
        num_slots: S.
        max_length: L, tokens.
    """

    def __init__(
        self,
        shape: KeyValueShape,
        num_slots: int,
        max_length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        size = (shape.num_layers, 2, num_slots, shape.num_heads, max_length, shape.head_width)
        self._held = torch.zeros(size, dtype=dtype, device=device)  # (N, 2, S, H, L, D)
        self.layers = self._held.unbind()  # keys and values of each layer, (2, S, H, L, D)
        self.token_ids = torch.zeros(num_slots, max_length, dtype=torch.long, device=device)
        self.num_slots = num_slots
        self.max_length = max_length
        self._free = list(range(num_slots))

    @property
    def num_free(self) -> int:
        """Slots that no sequence holds."""
        return len(self._free)

    @property
    def num_used(self) -> int:
        """Slots that a sequence holds."""
        return self.num_slots - self.num_free

    @property
    def num_bytes(self) -> int:
        """Memory of keys and values."""
        return self._held.nbytes

    def allocate(self) -> int:
        """Take the lowest free slot, so that those in use stay together.

        Raises:
            IndexError: when none is free; ask `num_free` first.
        """
        return heapq.heappop(self._free)

    def free(self, slot: int) -> None:
        """Give a slot back."""
        heapq.heappush(self._free, slot)

    def clear(self, slot: int) -> None:
        """Zero the keys and values of a slot, before the next sequence gets it."""
        self._held[:, :, slot] = 0

    def write_prefix(self, slot: int, prefix: Tensor) -> None:
        """Put a picture's keys and values (N, 2, H, P, D) at the beginning of a slot."""
        self._held[:, :, slot, :, : prefix.shape[3]] = prefix


class SlotRows:
    """A pass over given slots: new tokens at given positions, attending to all up to a length.

    Args:
        slots: what is read and written.
        rows: a slice (read in place) or slot numbers (R,) (read as a copy).
        row_numbers: the same slots as numbers, (R,).
        positions: of the new tokens, (R, T), or (1, T) where all rows have the same.
        length: tokens from the beginning of each slot that may be attended to.
    """

    def __init__(
        self,
        slots: KVSlots,
        rows: slice | Tensor,
        row_numbers: Tensor,
        positions: Tensor,
        length: int,
    ) -> None:
        self._layers, self._rows, self._length = slots.layers, rows, length
        self._places = (slice(None), row_numbers[:, None], slice(None), positions)

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyValueRows.extend`."""
        held = self._layers[layer]  # (2, S, H, L, D)
        held[self._places] = new  # (R, T, 2, H, D): indices that stand apart come first
        keys, values = held[:, self._rows, :, : self._length]
        return keys, values


class PrefixRows:
    """A pass over the pictures' prefixes alone: it attends to itself and keeps what it made.

    Args:
        prefixes: where keys and values go, (B, N, 2, H, P, D).
    """

    def __init__(self, prefixes: Tensor) -> None:
        self._prefixes = prefixes

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyValueRows.extend`."""
        kept = self._prefixes[:, layer]  # (B, 2, H, P, D)
        kept.copy_(new.permute(0, 2, 3, 1, 4))
        keys, values = kept.unbind(1)
        return keys, values


class PictureCache:
    """The prefixes of recent pictures, the longest unused going first.

    A prefix is copied into a slot when a sequence starts, so an entry is never in use longer than
    one step, and may be evicted at any time between.

    Args:
        max_bytes: of all prefixes together; a prefix larger than that is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._prefixes: OrderedDict[bytes, Tensor] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._prefixes

    def get(self, digest: bytes) -> Tensor | None:
        """The prefix of a picture, which becomes the most recent one; none when it is not here."""
        prefix = self._prefixes.get(digest)
        if prefix is not None:
            self._prefixes.move_to_end(digest)
        return prefix

    def put(self, digest: bytes, prefix: Tensor) -> None:
        """Keep a prefix, at the cost of the longest unused ones."""
        if prefix.nbytes > self.max_bytes or digest in self._prefixes:
            return
        self._prefixes[digest] = prefix
        self.num_bytes += prefix.nbytes
        while self.num_bytes > self.max_bytes:
            _, evicted = self._prefixes.popitem(last=False)
            self.num_bytes -= evicted.nbytes

    def discard(self, digest: bytes) -> None:
        """Evict one prefix, if it is here."""
        prefix = self._prefixes.pop(digest, None)
        self.num_bytes -= 0 if prefix is None else prefix.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._prefixes.clear()
        self.num_bytes = 0

"""Memory of keys and values: a fixed set of slots, allocated once, and cached picture prefixes.

Every tensor keeps its address for the life of the process. A slot holds one sequence. Values beyond
the sequence's length are masked with a weight of zero, and must be finite, since zero times NaN is
NaN. So the slot of a sequence with non-finite values is cleared before the next sequence gets it.
"""

import heapq
from collections import Counter, OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KeyValueShape:
    """Shape of the keys and values of one token."""

    num_layers: int
    num_heads: int
    head_width: int

    def bytes_per_token(self, dtype: torch.dtype) -> int:
        """Return the bytes of one token's keys and values in all layers."""
        return 2 * self.num_layers * self.num_heads * self.head_width * dtype.itemsize

    def prefix_size(self, num_pictures: int, num_tokens: int) -> tuple[int, ...]:
        """Return the tensor size of the prefixes of B pictures: (B, N, 2, H, P, D)."""
        return num_pictures, self.num_layers, 2, self.num_heads, num_tokens, self.head_width


class KVSlots:
    """Keys, values and token ids of S slots of L tokens each.

    Args:
        shape: shape of one token's keys and values.
        num_slots: S.
        max_length: L, in tokens.
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
        """Number of slots that no sequence holds."""
        return len(self._free)

    @property
    def num_used(self) -> int:
        """Number of slots that sequences hold."""
        return self.num_slots - self.num_free

    @property
    def num_bytes(self) -> int:
        """Memory of keys and values in bytes."""
        return self._held.nbytes

    def allocate(self) -> int:
        """Allocate the lowest free slot and return its index.

        Raises:
            IndexError: no slot is free; check `num_free` first.
        """
        return heapq.heappop(self._free)

    def free(self, slot: int) -> None:
        """Release a slot."""
        heapq.heappush(self._free, slot)

    def copy(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first tokens of a slot, with their keys and values, into another slot."""
        self._held[:, :, target, :, :num_tokens] = self._held[:, :, source, :, :num_tokens]
        self.token_ids[target, :num_tokens] = self.token_ids[source, :num_tokens]

    def clear(self, slot: int) -> None:
        """Set the keys and values of a slot to zero, before the next sequence gets it."""
        self._held[:, :, slot] = 0

    def clear_tokens(self, slots: Tensor, positions: Tensor, is_cleared: Tensor) -> None:
        """Set the keys and values of single tokens to zero. A CUDA graph can record this.

        Args:
            slots: indices of slots, (R,).
            positions: position of one token in each, (R,).
            is_cleared: which of them to clear, (R,).
        """
        held = self._held[:, :, slots, :, positions]  # (R, N, 2, H, D)
        self._held[:, :, slots, :, positions] = held.masked_fill(
            is_cleared[:, None, None, None, None], 0
        )

    def write_prefix(self, slot: int, prefix: Tensor) -> None:
        """Copy a picture's keys and values (N, 2, H, P, D) to the beginning of a slot."""
        self._held[:, :, slot, :, : prefix.shape[3]] = prefix


class SlotRows:
    """Rows of one pass over running sequences: stores new tokens, each at a position of its own.

    Args:
        rows: R adjacent slots, which are read in place.
        row_numbers: the same slots as indices, (R,).
        positions: positions of the new tokens, (R, T).
        length: number of tokens, from the beginning of each slot, that queries may attend to.
    """

    def __init__(
        self,
        slots: KVSlots,
        rows: slice,
        row_numbers: Tensor,
        positions: Tensor,
        length: int,
    ) -> None:
        self._layers, self._rows, self._length = slots.layers, rows, length
        self._targets = (slice(None), row_numbers[:, None], slice(None), positions)

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyValueRows.extend`."""
        held = self._layers[layer]  # (2, S, H, L, D)
        held[self._targets] = new  # (R, T, 2, H, D): separated index tensors put R, T first
        keys, values = held[:, self._rows, :, : self._length]
        return keys, values


class PromptRows:
    """Rows of one pass over prompts: stores the same positions of adjacent slots, without indices.

    Args:
        rows: R adjacent slots, which are read in place.
        begin: position of the first new token in each slot.
        length: number of tokens, from the beginning of each slot, that queries may attend to.
    """

    def __init__(self, slots: KVSlots, rows: slice, begin: int, length: int) -> None:
        self._layers, self._rows, self._begin, self._length = slots.layers, rows, begin, length

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyValueRows.extend`."""
        held = self._layers[layer][:, self._rows]  # (2, R, H, L, D)
        end = self._begin + new.shape[1]
        held[:, :, :, self._begin : end] = new.permute(2, 0, 3, 1, 4)
        keys, values = held[:, :, :, : self._length]
        return keys, values


class PrefixRows:
    """Rows of one pass over pictures' prefixes, which attends only to its own tokens.

    Args:
        prefixes: memory for the keys and values, (B, N, 2, H, P, D).
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
    """Cache of picture prefixes; evicts the least recently used.

    A prefix is copied into a slot when a sequence starts, so no entry is in use between steps and
    any can be evicted then, except pinned ones.

    Args:
        max_bytes: total size of all prefixes. Pinned prefixes may exceed it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._prefixes: OrderedDict[bytes, Tensor] = OrderedDict()
        self._pins: Counter[bytes] = Counter()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._prefixes

    def get(self, digest: bytes) -> Tensor | None:
        """Return a picture's prefix and mark it as recently used, or `None` if it is not cached."""
        prefix = self._prefixes.get(digest)
        if prefix is not None:
            self._prefixes.move_to_end(digest)
        return prefix

    def put(self, digest: bytes, prefix: Tensor) -> None:
        """Cache a prefix; evict the least recently used ones if necessary."""
        if digest in self._prefixes:
            return
        self._prefixes[digest] = prefix
        self.num_bytes += prefix.nbytes
        self._evict()

    def pin(self, digest: bytes) -> None:
        """Keep a picture's prefix, now or once it is cached, until as many calls of `unpin`."""
        self._pins[digest] += 1

    def unpin(self, digest: bytes) -> None:
        """Undo one `pin`."""
        self._pins[digest] -= 1
        if not self._pins[digest]:
            del self._pins[digest]
            self._evict()

    def _evict(self) -> None:
        for digest in list(self._prefixes):
            if self.num_bytes <= self.max_bytes:
                return
            if digest not in self._pins:
                self.discard(digest)

    def discard(self, digest: bytes) -> None:
        """Evict one prefix, if it is cached."""
        prefix = self._prefixes.pop(digest, None)
        self.num_bytes -= 0 if prefix is None else prefix.nbytes

    def clear(self) -> None:
        """Evict all prefixes, pinned ones too; their pictures are encoded again when needed."""
        self._prefixes.clear()
        self.num_bytes = 0

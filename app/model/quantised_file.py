"""The file of 8-bit weights: safetensors whose every byte but the weights follows from the model.

The header is computed, not parsed: a file is only used if its header and its size are exactly those
that this model and this source would have. Each layer has a SHA-256, which is compared when the
layer is read.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from app.errors import CheckpointError
from app.model.quantised import QuantizedWeight
from app.model.weights import read_bytes

FORMAT_VERSION = 1
"""To be raised when the same checkpoint gets other 8-bit values, or the file another layout."""

_DIGEST_BYTES = 32
_SCALE_BYTES = 4


@dataclass(frozen=True)
class FileLayout:
    """Position of everything in a file.

    Attributes:
        header: first bytes of the file.
        shapes: (O, I) of each layer's weight, by its name.
        offsets: first byte of each layer: O scales, then O·I levels.
        digests_offset: first byte of the SHA-256 of all layers, in their order.
        num_bytes: size of the file.
    """

    header: bytes
    shapes: Mapping[str, tuple[int, int]]
    offsets: Mapping[str, int]
    digests_offset: int
    num_bytes: int

    @classmethod
    def of(cls, source: str, shapes: Mapping[str, tuple[int, int]]) -> "FileLayout":
        """Return the layout of a file for layers of these shapes.

        Args:
            source: see `KeptWeights`.
        """
        entries: dict[str, object] = {}
        starts, end = {}, 0
        for name, dtype, shape, num_bytes in _tensors(shapes):
            starts[name], offsets = end, [end, end + num_bytes]
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
            end += num_bytes
        version = {"format_version": str(FORMAT_VERSION), "source": source}
        header = _to_header({"__metadata__": version} | entries)
        return cls(
            header,
            shapes,
            {name: len(header) + starts[f"{name}.scales"] for name in shapes},
            len(header) + starts["digests"],
            len(header) + end,
        )

    def read_digests(self, file: Path) -> dict[str, bytes]:
        """Return the SHA-256 of each layer.

        Raises:
            CheckpointError: the file does not have this layout.
            OSError: the file cannot be read.
        """
        num_bytes = self.num_bytes - self.digests_offset
        with file.open("rb") as stream:
            is_ours = stream.read(len(self.header)) == self.header
            stream.seek(self.digests_offset)
            digests = stream.read(num_bytes + 1)
        # The digests end the file, so their number of bytes reveals a file of another length.
        if not is_ours or len(digests) != num_bytes:
            raise CheckpointError(f"{file}: of another checkpoint or version, or truncated")
        starts = range(0, len(digests), _DIGEST_BYTES)
        values = (digests[start : start + _DIGEST_BYTES] for start in starts)
        return dict(zip(self.shapes, values, strict=True))

    def read(self, file: Path, name: str, digest: bytes) -> QuantizedWeight:
        """Read the weight of a layer.

        Raises:
            CheckpointError: the weight does not have this SHA-256.
            OSError: the file cannot be read.
        """
        num_outputs, num_inputs = self.shapes[name]
        scales = torch.empty(num_outputs)
        levels = torch.empty(num_outputs, num_inputs, dtype=torch.int8)
        read_bytes(file, self.offsets[name], scales)
        read_bytes(file, self.offsets[name] + scales.nbytes, levels)
        weight = QuantizedWeight(levels, scales)
        if digest_of(weight) != digest:
            raise CheckpointError(f"{file}: {name} is damaged")
        return weight

    def write(self, stream: BinaryIO, name: str, weight: QuantizedWeight) -> None:
        """Write the weight of a layer at its offset."""
        stream.seek(self.offsets[name])
        stream.write(_bytes_of(weight.scales))
        stream.write(_bytes_of(weight.levels))

    def complete(self, stream: BinaryIO, digests: Mapping[str, bytes]) -> None:
        """Write everything except the weights."""
        stream.seek(0)
        stream.write(self.header)
        stream.seek(self.digests_offset)
        stream.write(b"".join(digests[name] for name in self.shapes))


def digest_of(weight: QuantizedWeight) -> bytes:
    """Return the SHA-256 of a weight."""
    digest = hashlib.sha256(_bytes_of(weight.scales))
    digest.update(_bytes_of(weight.levels))
    return digest.digest()


def _tensors(
    shapes: Mapping[str, tuple[int, int]],
) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Yield name, dtype, shape and size in bytes of every tensor, in the order of the file."""
    for name, (num_outputs, num_inputs) in shapes.items():
        yield f"{name}.scales", "F32", (num_outputs,), num_outputs * _SCALE_BYTES
        yield f"{name}.levels", "I8", (num_outputs, num_inputs), num_outputs * num_inputs
    yield "digests", "U8", (len(shapes), _DIGEST_BYTES), len(shapes) * _DIGEST_BYTES


def _to_header(content: object) -> bytes:
    """Return the header of a safetensors file: its length, and JSON padded to 8 bytes."""
    text = json.dumps(content).encode()
    padded = text + b" " * (-len(text) % 8)
    return len(padded).to_bytes(8, "little") + padded


def _bytes_of(tensor: Tensor) -> memoryview:
    memory: memoryview = tensor.contiguous().view(torch.uint8).numpy().data
    return memory

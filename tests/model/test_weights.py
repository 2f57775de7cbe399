"""Reading stored weights: dtypes, pieces, several files, and damaged files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.checkpoint.files import StoredTensor
from app.errors import CheckpointError
from app.model.weights import PIECE_BYTES, Placement, TensorReader

NAMES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def stored_in(file: Path, tensor: torch.Tensor, dtype: str) -> StoredTensor:
    """Write a file with one tensor, whose data end the file."""
    save_file({"weight": tensor}, file)
    offset = file.stat().st_size - tensor.nbytes
    return StoredTensor(file, offset, dtype, tuple(tensor.shape))


def read(stored: StoredTensor, dtype: torch.dtype) -> torch.Tensor:
    target = torch.full(stored.shape, torch.nan, dtype=dtype)
    with TensorReader() as reader:
        reader.read([Placement(stored, target)], lambda _: None)
    return target


@pytest.mark.parametrize("served", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_is_converted_as_torch_converts_it(
    tmp_path: Path, name: str, served: torch.dtype
) -> None:
    tensor = torch.randn(7, 11).to(NAMES[name])
    stored = stored_in(tmp_path / "a.safetensors", tensor, name)
    assert torch.equal(read(stored, served), tensor.to(served))


@pytest.mark.parametrize("served", [torch.float32, torch.bfloat16])
def test_a_tensor_of_several_pieces_is_read_whole(tmp_path: Path, served: torch.dtype) -> None:
    """The last piece is shorter than the others."""
    tensor = torch.randn(2 * PIECE_BYTES // 4 + 3)
    stored = stored_in(tmp_path / "a.safetensors", tensor, "F32")
    assert torch.equal(read(stored, served), tensor.to(served))


def test_tensors_of_several_files_are_read_into_their_targets(tmp_path: Path) -> None:
    """Targets may be parts of one tensor, as for the fused projections."""
    tensors = [torch.randn(4, 5) for _ in range(9)]
    joined = torch.empty(36, 5)
    placements = [
        Placement(stored_in(tmp_path / f"{number % 4}-{number}.safetensors", tensor, "F32"), part)
        for number, (tensor, part) in enumerate(zip(tensors, joined.chunk(9), strict=True))
    ]
    num_bytes: list[int] = []
    with TensorReader() as reader:
        reader.read(placements, num_bytes.append)
    assert torch.equal(joined, torch.cat(tensors))
    assert sum(num_bytes) == joined.nbytes


def test_a_file_that_became_shorter_is_reported(tmp_path: Path) -> None:
    """Another program may write to it between the check and the reading."""
    stored = stored_in(tmp_path / "a.safetensors", torch.randn(100), "F32")
    with pytest.raises(CheckpointError, match="shorter"):
        read(replace(stored, offset=stored.offset + 4), torch.float32)


def test_an_unsupported_dtype_is_rejected(tmp_path: Path) -> None:
    stored = stored_in(tmp_path / "a.safetensors", torch.zeros(4, dtype=torch.int8), "I8")
    with pytest.raises(CheckpointError, match="I8"):
        read(stored, torch.float32)


def test_one_reader_reads_one_set_of_tensors_after_another(tmp_path: Path) -> None:
    """Its threads convert through the same buffers, of which a smaller piece fills a part."""
    tensors = [torch.randn(size) for size in (PIECE_BYTES // 4 + 1, 5, 1000)]
    targets = [torch.empty(len(tensor), dtype=torch.bfloat16) for tensor in tensors]
    with TensorReader() as reader:
        for number, (tensor, target) in enumerate(zip(tensors, targets, strict=True)):
            stored = stored_in(tmp_path / f"{number}.safetensors", tensor, "F32")
            reader.read([Placement(stored, target)], lambda _: None)
    for tensor, target in zip(tensors, targets, strict=True):
        assert torch.equal(target, tensor.bfloat16())

"""Any damaged file of a checkpoint is reported in one line, before the weights are read."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.checkpoint.files import read_checkpoint
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT

Change = Callable[[dict[str, Any]], Any]

SHORTEST_EDGE = {"shortest_edge": 224}


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "copy"))


def change_json(file: Path, change: Change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def change_header(file: Path, change: Change) -> None:
    """Change the header of a safetensors file, whose first 8 bytes are its length."""
    content = file.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:end])
    change(header)
    written = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(written)) + written + content[end:])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("generation_config.json", lambda c: c.update(no_repeat_ngram_size="three")),
        ("generation_config.json", lambda c: c.update(no_repeat_ngram_size=[3])),
        ("generation_config.json", lambda c: c.update(no_repeat_ngram_size=-1)),
        ("generation_config.json", lambda c: c.update(no_repeat_ngram_size=9)),
        ("generation_config.json", lambda c: c.update(no_repeat_ngram_size=2.5)),
        ("generation_config.json", lambda c: c.update(eos_token_id="end")),
        ("generation_config.json", lambda c: c.update(eos_token_id="2")),
        ("generation_config.json", lambda c: c.update(eos_token_id=True)),
        ("generation_config.json", lambda c: c.update(eos_token_id=[2, -1])),
        ("processor_config.json", lambda c: c.update(image_processor=None)),
        ("processor_config.json", lambda c: c["image_processor"].pop("image_std")),
        ("processor_config.json", lambda c: c["image_processor"].update(image_std=None)),
        ("processor_config.json", lambda c: c["image_processor"].update(image_mean=[0.5, 0.5])),
        ("processor_config.json", lambda c: c["image_processor"].update(image_mean=["a", 1, 1])),
        ("processor_config.json", lambda c: c["image_processor"].update(image_mean=[1e999] * 3)),
        ("processor_config.json", lambda c: c["image_processor"].update(image_std=[0, 1, 1])),
        ("processor_config.json", lambda c: c["image_processor"].update(image_std=[math.nan] * 3)),
        ("processor_config.json", lambda c: c["image_processor"].update(do_normalize=False)),
        ("processor_config.json", lambda c: c["image_processor"].update(resample=2)),
        ("processor_config.json", lambda c: c["image_processor"].update(size=square(384))),
        ("processor_config.json", lambda c: c["image_processor"].update(size=224)),
        ("processor_config.json", lambda c: c["image_processor"].update(size=SHORTEST_EDGE)),
        ("processor_config.json", lambda c: c["image_processor"].pop("size")),
        (
            "processor_config.json",
            lambda c: c["image_processor"].update(do_center_crop=True, crop_size=square(192)),
        ),
        ("processor_config.json", lambda c: c["image_processor"].update(rescale_factor=1 / 127.5)),
    ],
)
def test_a_wrong_value_is_reported(copy: Path, name: str, change: Change) -> None:
    change_json(copy / name, change)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(copy, "copy", None)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings.update(size=SHORTEST_EDGE, use_square_size=True),
        lambda settings: settings.update(do_center_crop=True, crop_size=square(224)),
        lambda settings: settings.update(do_center_crop=False, crop_size=square(192)),
    ],
)
def test_other_ways_to_squash_pictures_to_the_same_square_are_read(
    copy: Path, change: Change
) -> None:
    change_json(copy / "processor_config.json", lambda c: change(c["image_processor"]))
    read_checkpoint(copy, "copy", None)


def first_tensor(header: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = next(header[name] for name in header if name != "__metadata__")
    return entry


@pytest.mark.parametrize(
    "change",
    [
        lambda header: first_tensor(header).pop("data_offsets"),
        lambda header: first_tensor(header).pop("dtype"),
        lambda header: first_tensor(header).update(dtype="F64"),
        lambda header: first_tensor(header).update(shape=[1]),
        lambda header: first_tensor(header).update(shape="all"),
        lambda header: first_tensor(header).update(data_offsets=[-8, 0]),
        lambda header: first_tensor(header).update(data_offsets=[0.0, 8.0]),
        lambda header: first_tensor(header).update(
            shape=list(map(float, first_tensor(header)["shape"]))
        ),
        lambda header: header.update(further=[]),
    ],
)
def test_a_damaged_header_of_the_weights_is_reported(copy: Path, change: Change) -> None:
    """Otherwise the bytes of other tensors would be read."""
    [file] = copy.glob("*.safetensors")
    change_header(file, change)
    with pytest.raises(CheckpointError, match=r"cannot be read|does not match its shape"):
        read_checkpoint(copy, "copy", None)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
def test_json_that_is_nested_too_deeply_is_reported(copy: Path, name: str) -> None:
    (copy / name).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="cannot be read: RecursionError"):
        read_checkpoint(copy, "copy", None)


def test_an_unreadable_file_is_reported(copy: Path) -> None:
    """A directory stands for a file without permission, which root could read."""
    (copy / "config.json").unlink()
    (copy / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read: IsADirectoryError"):
        read_checkpoint(copy, "copy", None)


@pytest.mark.parametrize(("stored", "ids"), [(None, set()), (2, {2}), ([2, 9], {2, 9})])
def test_the_stored_ends_of_an_answer_are_read(copy: Path, stored: Any, ids: set[int]) -> None:
    """Like `generate`, the engine prefers those of `generation_config.json`."""
    change_json(copy / "generation_config.json", lambda c: c.update(eos_token_id=stored))
    assert read_checkpoint(copy, "copy", None).end_token_ids == ids


def write_index(directory: Path, *files: str) -> None:
    content = {"weight_map": {f"tensor {file}": file for file in files}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(content))


def test_the_index_chooses_the_files_of_the_model(copy: Path) -> None:
    """A folder may also have weights in another form, whose tensors have the same names."""
    expected = read_checkpoint(copy, "copy", None).tensors
    shutil.copy(copy / "model.safetensors", copy / "other.safetensors")
    write_index(copy, "model.safetensors")
    assert read_checkpoint(copy, "copy", None).tensors == expected


def test_missing_files_of_the_index_are_reported(copy: Path) -> None:
    write_index(copy, "b.safetensors", "model.safetensors", "a.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.safetensors, b\.safetensors missing"):
        read_checkpoint(copy, "copy", None)

"""Finds a checkpoint in a directory or on the hub, and reads everything in it except the weights.

This module does not import torch, so that `kosmos2` can report a missing path, a wrong kind of
model or a truncated file before it starts any process.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.checkpoint.calibration import (
    CALIBRATION_FILE,
    UNCALIBRATED,
    Calibration,
    parse_calibration,
)
from app.checkpoint.image_settings import normalisation_of
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT, MAX_NGRAM_SIZE, PUBLISHED_MODEL

EMBEDDED_NAME = "kosmos2-shapes-demo"
DEMO_NOTICE = (
    "Demo model: it has only seen drawn shapes and will describe your photo as shapes. For photos: "
    f"`make run MODEL={PUBLISHED_MODEL}` (6.7 GB to download once, about 8 GB of memory on a CPU)."
)
"""The notice in every answer of the embedded checkpoint."""
UPSTREAM_NGRAM_SIZE = 3  # the original demo, the paper's evaluation and the model card use it

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


FileStamp = tuple[int, int]
"""Size of a file in bytes, and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class StoredTensor:
    """Position of a tensor in a safetensors file.

    Attributes:
        offset: offset of its first byte, from the beginning of the file.
        dtype: dtype in the notation of safetensors, such as `F16`.
    """

    file: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all present and complete.

    Attributes:
        name: name of the model in answers.
        revision: commit on the hub; `None` for a local directory.
        is_embedded: whether it is the stand-in of this project.
        no_repeat_ngram_size: value of `generation_config.json`, or upstream's 3 if it has none.
        image_mean: mean of red, green and blue for values 0…1.
        image_std: standard deviation of red, green and blue for values 0…1.
        tensors: every stored tensor by name.
        weight_files: every file of tensors, as it was before its header was read.
        calibration: how to read the probabilities of boxes and answers.
        end_token_ids: the ids in `generation_config.json` that end an answer; empty if it has none.
    """

    directory: Path
    name: str
    revision: str | None
    is_embedded: bool
    no_repeat_ngram_size: int
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    tensors: Mapping[str, StoredTensor]
    weight_files: Mapping[Path, FileStamp]
    calibration: Calibration = UNCALIBRATED
    end_token_ids: frozenset[int] = frozenset()

    @property
    def notice(self) -> str | None:
        """What a user has to know about the model before trusting an answer, or `None`."""
        return DEMO_NOTICE if self.is_embedded else None

    def check_unchanged(self) -> None:
        """Raise `CheckpointError` if a file of weights has changed since its header was read."""
        for file, stamp in self.weight_files.items():
            if not file.is_file() or _stamp_of(file) != stamp:
                raise CheckpointError(f"{file} was changed while it was loaded; start again")


def open_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint, download it if necessary, and check that it is a complete Kosmos-2.

    Args:
        model: a directory, or a hub id such as `microsoft/kosmos-2-patch14-224`.
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: the path or id does not exist, the model is of another kind, or a file is
            missing or truncated.
        OutOfMemory: the disk has not enough space for the download.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return read_checkpoint(directory.resolve(), directory.resolve().name, None)
    if not _HUB_ID.fullmatch(model):
        raise CheckpointError(f"{model}: no such directory, and not a hub id (owner/name)")
    # Importing the hub's client takes a third of a second, which a directory does not need.
    from app.checkpoint.hub import fetch

    snapshot = fetch(model, revision)
    return read_checkpoint(snapshot, model, snapshot.name)


def read_checkpoint(directory: Path, name: str, revision: str | None) -> Checkpoint:
    """Read all files of a checkpoint except the weights, and check that none is missing.

    Args:
        directory: resolved path.
        name: name of the model in answers; the embedded checkpoint keeps its own.
        revision: commit on the hub; `None` for a local directory.

    Raises:
        CheckpointError: the model is of another kind, or a file is missing, damaged or truncated.
    """
    try:
        return _read(directory, name, revision)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,  # JSON with a hundred thousand opening brackets
        TypeError,
        ValueError,
    ) as error:
        why = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{directory} cannot be read: {why}") from error


def _read(directory: Path, name: str, revision: str | None) -> Checkpoint:
    config = _read_json(directory / "config.json")
    kind = config.get("model_type")
    if kind != "kosmos-2":
        raise CheckpointError(
            f"{directory}: config.json has model_type {kind!r}; only kosmos-2 can be served"
        )
    for needed in ("tokenizer.json", "tokenizer_config.json"):
        if not (directory / needed).is_file():
            raise CheckpointError(f"{directory}: {needed} is missing")
    is_embedded = directory == EMBEDDED_CHECKPOINT.resolve()
    mean, std = _image_normalisation(directory)
    generation = directory / "generation_config.json"
    defaults = _read_json(generation) if generation.is_file() else {}
    weight_files = {file: _stamp_of(file) for file in _weight_files(directory)}
    return Checkpoint(
        directory=directory,
        name=EMBEDDED_NAME if is_embedded else name,
        revision=revision,
        is_embedded=is_embedded,
        no_repeat_ngram_size=_no_repeat_ngram_size(defaults),
        image_mean=mean,
        image_std=std,
        tensors=MappingProxyType(_stored_tensors(weight_files)),
        weight_files=MappingProxyType(weight_files),
        calibration=read_calibration(directory),
        end_token_ids=_end_token_ids(defaults),
    )


def read_calibration(directory: Path) -> Calibration:
    """Return the calibration of a checkpoint, or the default if the checkpoint has none.

    Raises:
        CheckpointError: the file is invalid.
    """
    path = directory / CALIBRATION_FILE
    return parse_calibration(path, _read_json(path)) if path.is_file() else UNCALIBRATED


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: {path.name} is missing") from None
    except ValueError:
        raise CheckpointError(f"{path}: not JSON; the file may be truncated") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def _no_repeat_ngram_size(defaults: Mapping[str, Any]) -> int:
    stored = defaults.get("no_repeat_ngram_size")
    if stored is None:
        return UPSTREAM_NGRAM_SIZE
    return _whole_number("no_repeat_ngram_size", stored, MAX_NGRAM_SIZE)


def _end_token_ids(defaults: Mapping[str, Any]) -> frozenset[int]:
    stored = defaults.get("eos_token_id")
    one_or_more = stored if isinstance(stored, list) else [] if stored is None else [stored]
    return frozenset(_whole_number("eos_token_id", one) for one in one_or_more)


def _whole_number(name: str, stored: Any, largest: float = math.inf) -> int:
    if type(stored) is not int or not 0 <= stored <= largest:
        raise ValueError(f"{name} must not be {stored!r}")
    return stored


def _image_normalisation(directory: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the channels."""
    # Newer checkpoints store both inside the configuration of the processor.
    newer, older = directory / "processor_config.json", directory / "preprocessor_config.json"
    stored = _read_json(newer).get("image_processor", {}) if newer.is_file() else {}
    if "image_mean" not in stored:
        stored = _read_json(older)
    return normalisation_of(stored)


def _weight_files(directory: Path) -> list[Path]:
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{directory}: no *.safetensors file, the only format that can be read"
        )
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        named = {directory / name for name in _read_json(index).get("weight_map", {}).values()}
        if missing := sorted(path.name for path in named if not path.is_file()):
            raise CheckpointError(f"{directory}: {', '.join(missing)} missing")
        # A folder may also have other weights, which the model does not use.
        files = sorted(named)
    return files


def _stamp_of(file: Path) -> FileStamp:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _stored_tensors(files: Iterable[Path]) -> dict[str, StoredTensor]:
    return {name: tensor for file in files for name, tensor in _tensors_of_file(file).items()}


def _tensors_of_file(file: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file; raise if the file is shorter than its header requires."""
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        # A damaged file may claim a header of exabytes.
        text = stream.read(length) if length < file.stat().st_size else b""
    try:
        header: dict[str, Any] = json.loads(text)
    except ValueError:
        raise CheckpointError(
            f"{file}: not a complete safetensors file; download it again"
        ) from None
    # The only entry that is no tensor.
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    expected, actual = 8 + length + end, file.stat().st_size
    if actual < expected:
        raise CheckpointError(
            f"{file}: truncated, {actual:,} of {expected:,} bytes; download it again"
        )
    if any(not _fits(entry) for entry in header.values()):
        raise CheckpointError(f"{file}: damaged, a tensor's size does not match its shape")
    # Offsets in the header count from its end; the 8 bytes before it hold its length.
    return {
        name: StoredTensor(
            file, 8 + length + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"])
        )
        for name, entry in header.items()
    }


def _fits(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of the header has as many bytes as its shape and dtype require."""
    begin, end = entry["data_offsets"]
    if not all(type(number) is int for number in (begin, end, *entry["shape"])):
        return False
    width = re.search(r"\d+", entry["dtype"])  # in bits, as in `F16`; `BOOL` has one byte
    num_bytes = math.prod(entry["shape"]) * (int(width[0]) if width else 8) // 8
    return bool(begin >= 0 and end - begin == num_bytes)

"""Checks of a checkpoint's files, tensors and tokenizer, without its weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.checkpoint.files import Checkpoint
from app.checkpoint.hub import find_sha256
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.verify.checks import Check
from app.verify.recording import Recording, sha256_of

_MOST_NAMED = 3


def check_files(checkpoint: Checkpoint, recording: Recording) -> Iterator[Check]:
    """Yield the checks of sizes and checksums: recorded ones, and those of the hub's cache."""
    names = sorted(file.name for file in checkpoint.directory.iterdir() if file.is_file())
    known = [name for name in names if name in recording.files]
    wrong = [line for name in known for line in _differences(checkpoint.directory, name, recording)]
    for name in sorted({tensor.file.name for tensor in checkpoint.tensors.values()}):
        sha256 = find_sha256(checkpoint.directory / name)
        if sha256 is not None and name not in recording.files:
            known.append(name)
            wrong += _wrong_sum(checkpoint.directory / name, sha256, "the hub's")
    yield from (Check("files", "differs", line) for line in wrong)
    if not wrong and known:
        yield Check("files", "ok", f"size and SHA-256 as recorded: {', '.join(known)}")
    if absent := sorted(recording.files.keys() - set(names)):
        yield Check("files", "not checked", f"recorded, but not here: {', '.join(absent)}")
    if unknown := [name for name in names if name not in known and name.endswith(".safetensors")]:
        yield Check("files", "not checked", f"no recorded checksum of {', '.join(unknown)}")


def _differences(directory: Path, name: str, recording: Recording) -> list[str]:
    num_bytes, sha256 = recording.files[name]
    actual = (directory / name).stat().st_size
    if actual != num_bytes:
        return [f"{name} has {actual:,} bytes, recorded {num_bytes:,}"]
    return _wrong_sum(directory / name, sha256, "the recorded")


def _wrong_sum(file: Path, sha256: str, whose: str) -> list[str]:
    actual = sha256_of(file)
    if actual == sha256:
        return []
    return [f"{file.name} has the SHA-256 {actual[:12]}…, {whose} one is {sha256[:12]}…"]


def check_tensors(tensors: Mapping[str, Any], recording: Recording) -> Iterator[Check]:
    """Yield the checks of names, shapes and counts.

    Args:
        tensors: result of `app.verify.structure.describe_tensors`.
    """
    wrong = [
        f"{len(names)} {kind}: {', '.join(names[:_MOST_NAMED])}{'…' * (len(names) > _MOST_NAMED)}"
        for kind in ("missing", "unexpected", "misshapen")
        if (names := tensors[kind])
    ]
    yield from (Check("tensors", "differs", line) for line in wrong)
    if not wrong:
        yield Check("tensors", "ok", f"{tensors['num_tensors']} names and shapes as configured")
    for name, recorded in (
        ("parameters", recording.num_parameters),
        ("number of tensors", recording.num_tensors),
    ):
        key = "num_parameters" if name == "parameters" else "num_tensors"
        is_equal = tensors[key] == recorded
        detail = f"{tensors[key]:,}" + ("" if is_equal else f", recorded {recorded:,}")
        yield Check(name, "ok" if is_equal else "differs", detail)


def read_token_ids(checkpoint: Checkpoint, names: Mapping[str, int]) -> dict[str, int | None]:
    """Return the tokenizer's id of each name, or `None` if it has no such token.

    Raises:
        CheckpointError: the tokenizer is damaged.
    """
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    return {name: tokenizer.id_of(name) for name in names}


def check_token_ids(checkpoint: Checkpoint, recording: Recording) -> Iterator[Check]:
    """Yield the check of the ids of special tokens.

    Raises:
        CheckpointError: the tokenizer is damaged.
    """
    ids = read_token_ids(checkpoint, recording.token_ids)
    wrong = [
        f"{name} is {ids[name]}, recorded {recorded}"
        for name, recorded in recording.token_ids.items()
        if ids[name] != recorded
    ]
    yield from (Check("tokenizer", "differs", line) for line in wrong)
    if not wrong:
        yield Check("tokenizer", "ok", f"{len(ids)} special tokens have the recorded ids")

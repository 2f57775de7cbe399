"""Downloads checkpoints from a hub, or finds them in the cache of earlier downloads."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import httpx

from app.errors import CheckpointError, OutOfMemory

FETCHED_FILES = ("*.safetensors", "*.json")

_NOT_OF_A_HUB = (ValueError, TypeError, KeyError, AttributeError)
"""Errors of the hub's client when the response is an HTML page or unexpected JSON."""

_NOT_A_HUB = (
    f"the response of {constants.ENDPOINT} is not a hub's: a proxy or a login page may have sent it"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(model: str, revision: str | None) -> Path:
    """Return the directory of a checkpoint's files; download those that are not in the cache.

    The directory has the name of the commit.

    Args:
        model: hub id, such as `microsoft/kosmos-2-patch14-224`.
        revision: branch, tag or commit; `None`: the main branch.

    Raises:
        CheckpointError: the hub does not have the model, or cannot be reached.
        OutOfMemory: the disk has not enough space for the download.
    """
    try:
        with _errors_of_hub_as_ours(model):
            _check_disk(model, revision)
            return _download(model, revision)
    except _NotAHub:
        return _find_in_cache(model, revision)


def fetch_file(model: str, revision: str | None, name: str) -> Path:
    """Return one file of a hub id that is not part of the checkpoint, such as its picture.

    Raises:
        CheckpointError: the hub does not have the file, or cannot be reached.
    """
    with _errors_of_hub_as_ours(model):
        return Path(hf_hub_download(model, name, revision=revision))


def find_sha256(file: Path) -> str | None:
    """Return the checksum that the hub declared for a large file of the cache, or `None`.

    The client stores a large file under its SHA-256, and a snapshot has links to such files.
    """
    name = file.resolve().name
    return name if _SHA256.fullmatch(name) else None


class _NotAHub(CheckpointError):
    """Another server answered in the hub's place."""


@contextmanager
def _errors_of_hub_as_ours(model: str) -> Iterator[None]:
    """Raise `CheckpointError` with one line for every error of the hub's client."""
    try:
        yield
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{model}: no such model on the hub, or no access to it; set HF_TOKEN for access"
        ) from None
    except LocalEntryNotFoundError as error:
        reason = _failure_of(error.__cause__)
        raise CheckpointError(f"{model}: not in the cache, and {reason}") from None
    except EntryNotFoundError:
        raise CheckpointError(f"{model}: the hub has no such file") from None
    except HFValidationError as error:
        raise CheckpointError(f"{model}: {error}") from None
    # An `ImportError` is a SOCKS proxy, for which httpx needs a further package.
    except (OSError, ImportError, httpx.HTTPError) as error:
        raise CheckpointError(f"{model}: the hub's client reports: {error}") from None
    except _NOT_OF_A_HUB:
        raise _NotAHub(f"{model}: {_NOT_A_HUB}") from None


def _download(model: str, revision: str | None, *, local_files_only: bool = False) -> Path:
    patterns = [*FETCHED_FILES]
    directory = snapshot_download(
        model, revision=revision, allow_patterns=patterns, local_files_only=local_files_only
    )
    return Path(directory)


def _failure_of(cause: BaseException | None) -> str:
    if isinstance(cause, HfHubHTTPError):
        return f"the hub returned {cause.response.status_code} {cause.response.reason_phrase}"
    return "the hub could not be reached"


def _find_in_cache(model: str, revision: str | None) -> Path:
    """Return the directory of cached files, after another server answered in the hub's place."""
    try:
        return _download(model, revision, local_files_only=True)
    except LocalEntryNotFoundError:
        raise CheckpointError(f"{model}: not in the cache, and {_NOT_A_HUB}") from None


def _check_disk(model: str, revision: str | None) -> None:
    """Print the size of the download; raise `OutOfMemory` if it does not fit on the disk."""
    try:
        files = HfApi().model_info(model, revision=revision, files_metadata=True).siblings or []
    except (OSError, ImportError, httpx.HTTPError, *_NOT_OF_A_HUB):
        return  # the cache may hold all files; if it does not, the download reports the error
    fetched = [f for f in files if Path(f.rfilename).suffix in {".safetensors", ".json"}]
    size = sum(file.size or 0 for file in fetched)
    cache = Path(constants.HF_HUB_CACHE)
    cached = _bytes_below(cache / f"models--{model.replace('/', '--')}" / "blobs")
    missing, free = max(0, size - cached), shutil.disk_usage(_existing_parent(cache)).free
    # Standard output is for the ready line and for answers.
    print(f"{model}: {size / 1e9:.2f} GB, {missing / 1e9:.2f} GB to download", file=sys.stderr)
    if missing > free:
        raise OutOfMemory(
            f"{model}: the download needs {missing / 1e9:.2f} GB of disk, {free / 1e9:.2f} GB are "
            "free; free some space or set HF_HOME to a larger disk"
        )


def _bytes_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*")) if directory.is_dir() else 0


# Before the first download, the folder of the cache does not exist yet.
def _existing_parent(path: Path) -> Path:
    return path if path.exists() else _existing_parent(path.parent)

"""Downloads the files of a checkpoint from the hub, or finds them in the hub's cache."""

import shutil
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
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


def fetch(model: str, revision: str | None) -> Path:
    """Return the directory of a hub id's files; download those that are not in the cache.

    Raises:
        CheckpointError: the hub has no such model, or it can be reached neither there nor in the
            cache.
        OutOfMemory: the disk has not enough space for the download.
    """
    try:
        _check_disk(model, revision)
        return _download(model, revision)
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{model}: no such model on the hub, or no access to it; set HF_TOKEN for access"
        ) from None
    except LocalEntryNotFoundError as error:
        reason = _failure_of(error.__cause__)
        raise CheckpointError(f"{model}: not in the cache, and {reason}") from None
    except HFValidationError as error:
        raise CheckpointError(f"{model}: {error}") from None
    except (OSError, httpx.HTTPError) as error:
        raise CheckpointError(f"{model}: the hub reports: {error}") from None
    except _NOT_OF_A_HUB:
        return _find_in_cache(model, revision)


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
        raise CheckpointError(
            f"{model}: not in the cache, and the response of {constants.ENDPOINT} is not a hub's: "
            "a proxy or a login page may have sent it"
        ) from None


def _check_disk(model: str, revision: str | None) -> None:
    """Print the size of the download; raise `OutOfMemory` if it does not fit on the disk."""
    try:
        files = HfApi().model_info(model, revision=revision, files_metadata=True).siblings or []
    except (OSError, httpx.HTTPError, *_NOT_OF_A_HUB):
        return  # the cache may hold all files; if it does not, the download reports the error
    fetched = [f for f in files if Path(f.rfilename).suffix in {".safetensors", ".json"}]
    size = sum(file.size or 0 for file in fetched)
    cache = Path(constants.HF_HUB_CACHE)
    cached = _bytes_below(cache / f"models--{model.replace('/', '--')}" / "blobs")
    missing, free = max(0, size - cached), shutil.disk_usage(_existing_parent(cache)).free
    print(f"{model}: {size / 1e9:.2f} GB, {missing / 1e9:.2f} GB to download", flush=True)
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

"""Names the file in which the 8-bit weights of a checkpoint are kept from one start to the next."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from app.checkpoint.files import Checkpoint

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class KeptWeights:
    """A file for 8-bit weights.

    Attributes:
        source: text that differs if the weights may differ; the file is only used if it has the
            same.
    """

    path: Path
    source: str


def name_kept_weights(directory: Path | None, checkpoint: Checkpoint, dtype: str) -> KeptWeights:
    """Return the file for a checkpoint's 8-bit weights; neither it nor its directory need exist.

    Another version of the same checkpoint has the same file and another source, so that only the
    last version takes space.

    Args:
        directory: `None` for the place for derived files in the hub's cache.
        dtype: dtype from which the weights are quantized.
    """
    location = checkpoint.name if checkpoint.revision else str(checkpoint.directory)
    digest = hashlib.sha256(json.dumps([location, dtype]).encode()).hexdigest()[:16]
    name = _NOT_IN_NAMES.sub("-", f"{checkpoint.name}-{dtype}-int8-{digest}.safetensors")
    source = json.dumps({"dtype": dtype} | _identity_of(checkpoint))
    return KeptWeights((directory or _assets_of_hub()) / name, source)


def _identity_of(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the commit of the hub, and the size and time of every file of the weights.

    The commit alone would also name a damaged file and the download that replaces it.
    """
    files = [[file.name, *stamp] for file, stamp in sorted(checkpoint.weight_files.items())]
    return {"commit": checkpoint.revision, "files": files}


def _assets_of_hub() -> Path:
    # Importing it takes a while, and only large models in 8 bits need it.
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "kosmos2"

"""The child process that describes a checkpoint's tensors and the machine, without weights.

python -m app.verify.structure < JOB
"""

import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from app.checkpoint.files import Checkpoint, read_checkpoint
from app.engine.device import probe_cuda
from app.model.loading import expected_tensors
from app.verify.jobs import answer_jobs

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_UNUSED = re.compile(r".*(lm_head\.weight|embed_positions\.weights|position_ids)")
"""Tensors of older checkpoints that are copies or constants, which no loader reads."""


def describe_tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    """Compare the stored tensors with those that the loader reads.

    Returns:
        `missing`, `unexpected` and `misshapen` names, and the numbers of tensors and parameters.

    Raises:
        CheckpointError: the configuration is not supported.
    """
    expected = expected_tensors(checkpoint)
    stored = {name: t.shape for name, t in checkpoint.tensors.items() if not _UNUSED.match(name)}
    common = expected.keys() & stored.keys()
    return {
        "missing": sorted(expected.keys() - stored.keys()),
        "unexpected": sorted(stored.keys() - expected.keys()),
        "misshapen": sorted(name for name in common if expected[name] != stored[name]),
        "num_tensors": len(stored),
        "num_parameters": sum(math.prod(shape) for shape in stored.values()),
    }


def describe_devices() -> list[dict[str, str]]:
    """Return the device, its name and its driver, for the CPU and for CUDA if it works."""
    devices = [{"device": "cpu", "name": _processor(), "driver": ""}]
    if probe_cuda().problem is None:
        name = torch.cuda.get_device_name()
        devices.append({"device": "cuda", "name": name, "driver": _driver()})
    return devices


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _driver() -> str:
    found = (
        re.search(r"\d+\.\d+[.\d]*", _DRIVER_FILE.read_text()) if _DRIVER_FILE.exists() else None
    )
    return found[0] if found else "unknown"


def describe(content: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a checkpoint and of this machine."""
    directory = Path(content["directory"])
    return {
        "tensors": describe_tensors(read_checkpoint(directory, directory.name, None)),
        "devices": describe_devices(),
        "versions": {
            "torch": torch.__version__,
            "cuda": torch.version.cuda or "none",
            "transformers": version("transformers"),
        },
    }


if __name__ == "__main__":
    answer_jobs(describe)

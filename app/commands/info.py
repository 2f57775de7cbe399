"""`kosmos2 info`: prints versions, the model that would be served, and the memory it needs."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from app.checkpoint.files import Checkpoint
from app.pictures.workers.pool import share_of_http_process
from app.processors import Processors, count_processors
from app.settings import Settings

_LIMITS = (
    "max_sequence_length",
    "max_body_bytes",
    "max_image_pixels",
    "deadline_s",
    "body_timeout_s",
    "http_workers",
)


def print_information(settings: Settings, checkpoint: Checkpoint) -> int:
    """Print one line per fact, a name and a value.

    Returns:
        The exit code of the process that reports the engine's facts.
    """
    # A process of its own, since this one must not import torch.
    program = ["-m", "app.ipc.start_child", "app.engine.describe", str(checkpoint.directory)]
    result = subprocess.run(  # noqa: S603 - our own module, a directory of the operator
        [sys.executable, *program], stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode == 0:
        engine = json.loads(result.stdout)
        facts = [*_lines(settings, checkpoint, engine), *_processors(settings, count_processors())]
        for name, value in facts:
            print(f"{name:<22}{value}")
    return result.returncode


def _lines(
    settings: Settings, checkpoint: Checkpoint, engine: dict[str, str | int]
) -> Iterator[tuple[str, object]]:
    yield "kosmos2-server", version("kosmos2-server")
    yield "python", platform.python_version()
    yield "transformers", version("transformers")
    yield "model", checkpoint.name
    yield "revision", checkpoint.revision or "none (not from the hub)"
    for name, value in engine.items():
        is_size = name.endswith("_bytes")
        yield name, f"{int(value) / 1e6:,.1f} MB" if is_size else value
    for name in _LIMITS:
        yield name, getattr(settings, name)


def _processors(settings: Settings, found: Processors) -> Iterator[tuple[str, object]]:
    """Yield the processors, and the number of picture processes that is chosen from them."""
    yield "machine_processors", found.machine
    yield "affinity", found.affinity
    yield "processor_quota", "none" if found.quota is None else round(found.quota, 3)
    yield "usable_processors", found.usable
    per_http_process = share_of_http_process(settings, found.usable)
    yield "picture_processes", per_http_process * settings.http_workers

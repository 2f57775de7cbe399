"""Prints the device and the memory that the engine would use, as JSON, without loading a model.

    python -m app.engine.describe DIRECTORY

Settings are read from the environment.
"""

import json
import sys
from pathlib import Path

import torch

from app.checkpoint.files import read_checkpoint
from app.engine.device import choose_device, name_dtype, probe_cuda
from app.engine.sizing import choose_threads, measure_free_bytes, plan_memory
from app.errors import StartupError
from app.processors import count_processors
from app.settings import Settings
from app.telemetry.logs import configure_logs


def describe(directory: Path, settings: Settings) -> dict[str, str | int]:
    """Return the device, the dtype and the memory that the engine would use.

    Raises:
        StartupError: the device cannot be used, or the model is not supported.
    """
    checkpoint = read_checkpoint(directory, directory.name, None)
    device, dtype = choose_device(settings, probe_cuda())
    free_bytes = measure_free_bytes(device)
    plan = plan_memory(settings, checkpoint, device, dtype, free_bytes)
    is_cuda = device.type == "cuda"
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "threads": choose_threads(plan, device, count_processors().usable),
        "dtype": name_dtype(settings, dtype),
        "weights_bytes": plan.weights_bytes,
        "num_slots": plan.num_slots,
        "slot_bytes": plan.slot_bytes,
        "picture_cache_bytes": plan.picture_cache_bytes,
        "working_bytes": plan.working_bytes,
        "total_bytes": plan.total_bytes,
        "free_bytes": free_bytes,
    }


def main() -> None:
    """Print the description; print a start-up error as one line and exit with its code."""
    settings = Settings()
    # Standard output holds the JSON line alone, so warnings must not be printed there.
    configure_logs(settings.log_level, "engine", settings.log_format)
    try:
        print(json.dumps(describe(Path(sys.argv[1]), settings)))
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

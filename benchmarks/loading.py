"""The time and the peak memory of loading a checkpoint from a cold disk.

    python -m benchmarks.loading DIRECTORY [float32|bfloat16]

Prints one line of JSON. `read_s` is the time of reading the files once from a cold disk. The peak
counts the process's own memory and mapped files, minus the memory after importing the libraries.
"""

import json
import sys
import time

import psutil
import torch

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.loading import load_model
from benchmarks.memory import evict_files, peak_resident_bytes, seconds_to_read


def measure_loading(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, str | float]:
    """Read the files once, then load them, each time from a cold disk."""
    files = sorted({tensor.file for tensor in checkpoint.tensors.values()})
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    prefix, cells = list(tokenizer.prefix_ids), tokenizer.location_token_ids
    evict_files(files)
    read_s = seconds_to_read(files)
    evict_files(files)
    # What the imports occupy does not belong to the model.
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    model = load_model(checkpoint, prefix, cells, 512, torch.device("cpu"), dtype, lambda _: None)
    load_s = time.perf_counter() - began
    peak_bytes = peak_resident_bytes() - before
    return {
        "checkpoint": checkpoint.name,
        "dtype": str(dtype).removeprefix("torch."),
        "weights_bytes": model.num_bytes,
        "peak_bytes": peak_bytes,
        "peak_over_weights": round(peak_bytes / model.num_bytes, 4),
        "read_s": round(read_s, 3),
        "load_s": round(load_s, 3),
        "load_over_read": round(load_s / read_s, 3),
    }


def main() -> None:
    """Load a checkpoint and print the measurements."""
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[(sys.argv[2:] or ["float32"])[0]]
    report = measure_loading(open_checkpoint(sys.argv[1]), dtype)
    print(json.dumps({"benchmark": "loading"} | report))


if __name__ == "__main__":
    main()

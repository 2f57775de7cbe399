"""How long a checkpoint takes to load, and how much memory at its highest.

    python -m benchmarks.loading DIRECTORY [float32|bfloat16]

Ends in one JSON line. The peak is that of memory of the process's own and of mapped files together
(`ru_maxrss`), less what the process held with its libraries loaded and nothing else.
"""

import json
import resource
import sys
import time

import psutil
import torch

from app.checkpoint import open_checkpoint
from app.model.checkpoint import load_model
from app.tokenizer import Kosmos2Tokenizer

# What Linux counts in kilobytes, macOS counts in bytes.
_RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Load once and print what it took."""
    checkpoint = open_checkpoint(sys.argv[1])
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[(sys.argv[2:] or ["float32"])[0]]
    prefix = list(Kosmos2Tokenizer.load(checkpoint.directory).prefix_ids)
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    model = load_model(checkpoint, prefix, 512, torch.device("cpu"), dtype, lambda _: None)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_UNIT - before
    report = {
        "benchmark": "loading",
        "checkpoint": checkpoint.name,
        "dtype": str(dtype).removeprefix("torch."),
        "weights_bytes": model.num_bytes,
        "peak_bytes": peak,
        "peak_over_weights": round(peak / model.num_bytes, 4),
        "load_s": round(seconds, 3),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

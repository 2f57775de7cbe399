"""Runs one full-size measurement of `generate` of `transformers`, in its own process.

    python -m benchmarks.full_size_peer CHECKPOINT STEPS (bfloat16|int8)

Prints one line of JSON (see `FullSizeTimes`).
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import psutil

from benchmarks.full_size_times import BATCHES, TASKS, FullSizeTimes
from benchmarks.memory import peak_resident_bytes
from benchmarks.rows import noise_pictures
from benchmarks.timed_generation import Kind, TimedGeneration


def measure(directory: Path, num_steps: int, kind: Kind) -> FullSizeTimes:
    """Load the model, then time each batch size, then seven tasks about one picture."""
    # What the imports occupy does not belong to the model.
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    timed = TimedGeneration(directory, kind, threads=os.cpu_count() or 1)
    pictures = noise_pictures(sum(BATCHES) + 1)
    timed.seconds([timed.encode(pictures.pop(), TASKS[0])], 2)  # warm-up
    load_s = time.perf_counter() - began
    step_s, first_token_s = {}, {}
    for batch in BATCHES:
        rows = [timed.encode(pictures.pop(), TASKS[0]) for _ in range(batch)]
        first_token_s[str(batch)] = timed.seconds(rows, 1)
        step_s[str(batch)] = timed.seconds_per_token(rows, num_steps)
    return FullSizeTimes(
        load_s=load_s,
        step_s=step_s,
        first_token_s=first_token_s,
        later_task_share=_later_task_share(timed),
        held_bytes=0,
        peak_bytes=peak_resident_bytes() - before,
    )


def _later_task_share(timed: TimedGeneration) -> float:
    (picture,) = noise_pictures(1, seed=1)
    first, *later = [timed.seconds([timed.encode(picture, task)], 1) for task in TASKS]
    return fmean(later) / first


def main() -> None:
    """Measure as the command line requests."""
    kinds: dict[str, Kind] = {"bfloat16": "bfloat16", "int8": "int8"}
    times = measure(Path(sys.argv[1]), int(sys.argv[2]), kinds[sys.argv[3]])
    print(json.dumps(asdict(times)))


if __name__ == "__main__":
    main()

"""Runs one full-size measurement of a peer, in its own process.

    python -m benchmarks.full_size_peer CHECKPOINT KIND

`KIND` is `float32`, `bfloat16` or `int8` for `generate` of `transformers`, or `openvino-8-4` for
OpenVINO with a vision tower in 8 bits and a decoder in 4 bits. Prints one line of JSON (see
`FullSizeTimes`).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Protocol

import psutil

from benchmarks.full_size_times import (
    BATCHES,
    CAPTION_TOKENS,
    CLASSES,
    TASKS,
    TOKENS_OF_A_BOX,
    FullSizeTimes,
    PictureTask,
)
from benchmarks.memory import peak_resident_bytes
from benchmarks.rows import noise_pictures
from benchmarks.timed_generation import KINDS, TimedGeneration

_ALL_CLASSES = [
    PictureTask("phrase_grounding", f"a {colour} {shape}")
    for shape in ("circle", "square", "star", "heart")
    for colour in ("red", "green", "blue", "white", "black")
]


class Peer(Protocol):
    """Generates tokens for rows, each a picture of 224×224×3 bytes and a task."""

    def seconds_of(self, rows: Sequence[tuple[bytes, PictureTask]], num_new_tokens: int) -> float:
        """Return the time from the pictures to the last of so many tokens of all rows."""


def measure(start: Callable[[], Peer]) -> FullSizeTimes:
    """Load the model, then time captions, detections, and seven tasks about one picture."""
    # What the imports occupy does not belong to the model.
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    peer = start()
    pictures = noise_pictures(2 * sum(BATCHES) + 2 + len(CLASSES))
    peer.seconds_of([(pictures.pop(), TASKS[0])], 2)  # warm-up
    load_s = time.perf_counter() - began

    def captions_s(num_rows: int, num_tokens: int) -> float:
        return peer.seconds_of([(pictures.pop(), TASKS[0]) for _ in range(num_rows)], num_tokens)

    def classes_s(number: int) -> float:
        picture = pictures.pop()
        return peer.seconds_of([(picture, task) for task in _ALL_CLASSES[:number]], TOKENS_OF_A_BOX)

    return FullSizeTimes(
        load_s=load_s,
        first_token_s={str(rows): captions_s(rows, 1) for rows in BATCHES},
        caption_s={str(rows): captions_s(rows, CAPTION_TOKENS) for rows in BATCHES},
        phrase_s=classes_s(1),
        detection_s={str(number): classes_s(number) for number in CLASSES},
        later_task_share=_later_task_share(peer),
        held_bytes=0,
        peak_bytes=peak_resident_bytes() - before,
    )


def _later_task_share(peer: Peer) -> float:
    (picture,) = noise_pictures(1, seed=1)
    first, *later = [peer.seconds_of([(picture, task)], 1) for task in TASKS]
    return fmean(later) / first


def _start(directory: Path, kind: str) -> Peer:
    threads = os.cpu_count() or 1
    if kind in KINDS:
        return TimedGeneration(directory, KINDS[kind], threads)
    # Only the extra `bench` has the library.
    from benchmarks.openvino_model import OpenVinoModel, bits_of

    return OpenVinoModel(directory, bits_of(kind), threads)


def main() -> None:
    """Measure as the command line requests."""
    directory, kind = Path(sys.argv[1]), sys.argv[2]
    print(json.dumps(asdict(measure(lambda: _start(directory, kind)))))


if __name__ == "__main__":
    main()

"""Captions over HTTP for pictures of one megapixel: the whole service, including decoding."""

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from app.bench.loops import Bounds
from app.bench.results import LoadResult
from app.bench.workload import LoadRequest
from app.pictures.decode import decode_picture
from benchmarks.contestants import running, service
from benchmarks.loads import put_closed_load
from benchmarks.workloads import photograph

CLIENTS = 128
MAX_NEW_TOKENS = 32
NUM_PICTURES = 16
MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Captions:
    """The throughput of captions.

    Attributes:
        rate: captions per second.
        clients: number of waiting clients.
        decoded: pictures per second that all cores could decode without other work.
    """

    rate: float
    clients: int
    cores: int
    decoded: float


def captions_per_second(checkpoint: Path, seconds: float) -> Captions:
    """Measure a service that uses half the cores for HTTP and caches no pictures.

    Raises:
        RuntimeError: the service did not start.
    """
    cores = os.cpu_count() or 1
    pictures = [photograph(1.0, seed) for seed in range(NUM_PICTURES)]
    fields = {"task": "brief_caption", "max_new_tokens": str(MAX_NEW_TOKENS)}
    workload = [LoadRequest(picture, fields) for picture in pictures]
    # All clients may wait, because a rejected request would not load the service.
    ours = service(picture_cache_bytes=0, http_workers=max(1, cores // 2), max_waiting=CLIENTS)
    with running(ours, checkpoint) as url:
        samples = put_closed_load(url, workload, CLIENTS, Bounds(seconds=seconds))
    rate = LoadResult.of(samples).goodput_per_s
    return Captions(rate, CLIENTS, cores, cores / _decode_seconds(pictures))


def _decode_seconds(pictures: list[bytes]) -> float:
    began = perf_counter()
    for picture in pictures:
        decode_picture(picture, max_pixels=MAX_PIXELS, jpeg_round_trip=False)
    return (perf_counter() - began) / len(pictures)

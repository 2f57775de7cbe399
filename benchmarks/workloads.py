"""The work that all contestants are given, and the answers that `transformers` gives to it."""

import io
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from app.bench.results import Sample
from app.bench.workload import LoadRequest, mixed_workload
from benchmarks.peers.generation import Generation
from training.scenes import draw_scene
from training.world import plan_scene

SEED = 20261
JPEG_QUALITY = 90
_TRIED_ROWS = 16


def scenes(count: int, seed: int = SEED) -> list[bytes]:
    """Different drawn scenes as JPEG files, each with a few shapes, some hundred pixels wide."""
    rng = random.Random(seed)
    return [_as_jpeg(draw_scene(plan_scene(rng), rng)) for _ in range(count)]


def photograph(megapixels: float, seed: int = SEED) -> bytes:
    """A scene enlarged, with the grain of a photograph, as a JPEG file."""
    side = round((megapixels * 1e6) ** 0.5)
    rng = random.Random(seed)
    scene = draw_scene(plan_scene(rng), rng).convert("RGB").resize((side, side))
    grain = Image.effect_noise((side, side), 40).convert("RGB")
    return _as_jpeg(Image.blend(scene, grain, 0.2))


def different_pictures(count: int) -> list[LoadRequest]:
    """A mixed workload in which hardly two requests are about the same picture."""
    return mixed_workload(scenes(count), count, SEED)


def one_picture(count: int) -> list[LoadRequest]:
    """A mixed workload about a single picture."""
    return mixed_workload(scenes(1), count, SEED)


def expected_markups(checkpoint: Path, workload: Sequence[LoadRequest]) -> list[str]:
    """What `generate` answers to each request alone, in float32: the right answers."""
    generation = Generation(checkpoint, threads=1)
    markups = []
    for request in workload:
        (answer,) = generation.answer_all([generation.encode(request.picture, request.fields)])
        markups.append(str(answer["markup"]))
    return markups


def faster_threads(checkpoint: Path) -> int:
    """With how many threads `generate` is faster on a batch: one, or one for each core."""
    generation = Generation(checkpoint, threads=1)
    requests = different_pictures(_TRIED_ROWS)
    batch = [generation.encode(request.picture, request.fields) for request in requests]
    seconds = {}
    for threads in (1, os.cpu_count() or 1):
        torch.set_num_threads(threads)
        generation.generate(batch[:1])
        began = time.perf_counter()
        generation.generate(batch)
        seconds[threads] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def share_right(samples: Sequence[Sample], expected: Sequence[str]) -> float:
    """The share of the answers that are right, token for token in their markup."""
    answered = [sample for sample in samples if sample.reply.answer is not None]
    right = [s for s in answered if (s.reply.answer or {})["markup"] == expected[s.number]]
    return len(right) / max(len(answered), 1)


def _as_jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()

"""The requests for all contestants, and the answers of `transformers` to them."""

import io
import json
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
    """Return different drawn scenes as JPEG files, a few hundred pixels wide."""
    rng = random.Random(seed)
    return [_as_jpeg(draw_scene(plan_scene(rng), rng)) for _ in range(count)]


def photograph(megapixels: float, seed: int = SEED) -> bytes:
    """Return an enlarged scene with the grain of a photograph, as a JPEG file."""
    side = round((megapixels * 1e6) ** 0.5)
    rng = random.Random(seed)
    scene = draw_scene(plan_scene(rng), rng).convert("RGB").resize((side, side))
    # Noise makes the file as large, and as slow to decode, as that of a camera.
    grain = Image.effect_noise((side, side), 40).convert("RGB")
    return _as_jpeg(Image.blend(scene, grain, 0.2))


def different_pictures(count: int) -> list[LoadRequest]:
    """Return a mixed workload in which almost every request has its own picture."""
    return mixed_workload(scenes(count), count, SEED)


def detections(pictures: Sequence[bytes], classes: Sequence[str]) -> list[LoadRequest]:
    """Return one detection of all classes in each picture."""
    fields = {"classes": json.dumps(list(classes))}
    return [LoadRequest(picture, fields, "/v1/detect") for picture in pictures]


def captions(pictures: Sequence[bytes], **fields: str) -> list[LoadRequest]:
    """Return a brief caption of each picture, with further fields of the form."""
    return [LoadRequest(picture, {"task": "brief_caption", **fields}) for picture in pictures]


def one_picture(count: int) -> list[LoadRequest]:
    """Return a mixed workload about a single picture."""
    return mixed_workload(scenes(1), count, SEED)


def expected_markups(checkpoint: Path, workload: Sequence[LoadRequest]) -> list[str]:
    """Return the answers of `generate` to each request alone, in float32."""
    generation = Generation(checkpoint, threads=1)
    markups = []
    for request in workload:
        (answer,) = generation.answer_all([generation.encode(request.picture, request.fields)])
        markups.append(str(answer["markup"]))
    return markups


def faster_threads(checkpoint: Path) -> int:
    """Return whether `generate` is faster on a batch with 1 thread or with one per core."""
    generation = Generation(checkpoint, threads=1)
    requests = different_pictures(_TRIED_ROWS)
    batch = [generation.encode(request.picture, request.fields) for request in requests]
    seconds = {}
    for threads in (1, os.cpu_count() or 1):
        torch.set_num_threads(threads)
        # The first call with another number of threads also starts them.
        generation.generate(batch[:1])
        began = time.perf_counter()
        generation.generate(batch)
        seconds[threads] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def share_right(samples: Sequence[Sample], expected: Sequence[str]) -> float:
    """Return the share of answers whose markup equals the expected one."""
    answered = [sample for sample in samples if sample.reply.answer is not None]
    right = [s for s in answered if (s.reply.answer or {})["markup"] == expected[s.number]]
    return len(right) / max(len(answered), 1)


def _as_jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()

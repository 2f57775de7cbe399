"""Scenes of the embedded checkpoint's world, seeded."""

import random

from training.scenes import draw_scene, squash
from training.world import plan_scene


def scene_pixels(count: int, seed: int = 20261) -> list[bytes]:
    """`count` scenes, drawn and squashed as the service squashes them: 224×224×3 bytes each."""
    rng = random.Random(seed)
    return [squash(draw_scene(plan_scene(rng), rng)).tobytes() for _ in range(count)]

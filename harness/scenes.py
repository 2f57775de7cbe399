"""Random scenes of the embedded checkpoint's world, fixed by a seed."""

import random

from training.scenes import draw_scene, squash
from training.world import plan_scene


def scene_pixels(count: int, seed: int = 20261) -> list[bytes]:
    """Return `count` scenes, drawn and squashed as in the service: 224×224×3 bytes each."""
    rng = random.Random(seed)
    return [squash(draw_scene(plan_scene(rng), rng)).tobytes() for _ in range(count)]

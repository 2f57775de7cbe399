"""Scenes on which a checkpoint is calibrated and measured, of seeds that training never uses."""

import random
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from training.harder_scenes import HARDER, harder_scene
from training.scenes import draw_scene
from training.world import Scene, plan_scene

Purpose = Literal["calibration", "held out"]
"""What the scenes are for. Nothing may be chosen on the held-out ones."""

CLEAN = "clean"
KINDS = (CLEAN, *HARDER)


@dataclass(frozen=True)
class MeasuredScene:
    """A drawn scene.

    Attributes:
        rng: generates the questions about the scene.
    """

    scene: Scene
    picture: Image.Image
    rng: random.Random


def measured_scene(purpose: Purpose, index: int, kind: str = CLEAN) -> MeasuredScene:
    """Return scene number `index` of a purpose and of one of `KINDS`."""
    if kind == CLEAN:
        rng = random.Random(f"{purpose} {index}")
        scene = plan_scene(rng)
        return MeasuredScene(scene, draw_scene(scene, rng), rng)
    rng = random.Random(f"{purpose} {kind} {index}")
    return MeasuredScene(*harder_scene(kind, rng), rng)

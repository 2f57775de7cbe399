"""Scenes that are harder than most or all of training, each in one way."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from PIL import Image

from training.degradations import blurred, noisy, through_jpeg
from training.scenes import draw_scene
from training.world import Box, Scene, SceneObject, overlap, plan_scene

SMALL_SIDES = (0.08, 0.12)
"""Sides relative to the picture's longer side; the smallest of training is 0.13."""

OVERLAPS = (0.2, 0.5)
"""Shared parts of the smaller box; the largest of training is 0.15."""

ODD_ASPECT_RATIOS = (2.0, 2.5, 3.0, 1 / 2, 1 / 2.5, 1 / 3)
"""Training has 2:3 to 3:2."""

JPEG_QUALITY = 30
"""Training mostly has none or 55 to 95."""

BLUR_RADIUS = 0.01
"""Standard deviation, relative to the picture's longer side; most of training has none."""

NOISE = 25.0
"""Standard deviation of the noise of each channel, of 255; most of training has none."""


def harder_scene(kind: str, rng: random.Random) -> tuple[Scene, Image.Image]:
    """Return a scene of one of the kinds of `HARDER`, and its picture."""
    return HARDER[kind](rng)


def _small(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene = with_small_objects(plan_scene(rng), SMALL_SIDES, rng)
    return scene, draw_scene(scene, rng)


def with_small_objects(scene: Scene, sides: tuple[float, float], rng: random.Random) -> Scene:
    """Return the scene with smaller objects at the same places.

    Args:
        sides: smallest and largest side relative to the picture's longer side.
    """
    objects = tuple(_shrunk(thing, scene, sides, rng) for thing in scene.objects)
    return replace(scene, objects=objects)


def _shrunk(
    thing: SceneObject, scene: Scene, sides: tuple[float, float], rng: random.Random
) -> SceneObject:
    side = rng.uniform(*sides) * max(scene.width, scene.height)
    (x, y), w, h = thing.centre, side / scene.width, side / scene.height
    return replace(thing, xyxy=(x - w / 2, y - h / 2, x + w / 2, y + h / 2))


def _overlapping(rng: random.Random) -> tuple[Scene, Image.Image]:
    """Move objects until each after the first covers a part of an earlier one."""
    scene = plan_scene(rng)
    while len({thing.colour for thing in scene.objects}) < 2:
        scene = plan_scene(rng)
    objects: list[SceneObject] = []
    for thing in scene.objects:
        if not objects:
            objects.append(thing)
        elif moved := _moved_onto(thing, objects, rng):
            objects.append(moved)
    scene = replace(scene, objects=tuple(objects))
    return scene, draw_scene(scene, rng)


def _moved_onto(
    thing: SceneObject, others: list[SceneObject], rng: random.Random
) -> SceneObject | None:
    """Return the object at a place where it covers a part of another one, or `None`."""
    x0, y0, x1, y1 = thing.xyxy
    for _ in range(300):
        x, y = rng.uniform(0, 1 - (x1 - x0)), rng.uniform(0, 1 - (y1 - y0))
        box = (x, y, x + x1 - x0, y + y1 - y0)
        if _covers_a_part(thing.colour, box, others):
            return replace(thing, xyxy=box)
    return None


def _covers_a_part(colour: str, box: Box, others: list[SceneObject]) -> bool:
    shared = {other: overlap(box, other.xyxy) for other in others}
    # Shapes of one colour would merge.
    if any(part > 0 for other, part in shared.items() if other.colour == colour):
        return False
    return OVERLAPS[0] <= max(shared.values()) <= OVERLAPS[1]


def _in_jpeg(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene, picture = _plain(rng)
    return scene, through_jpeg(picture, JPEG_QUALITY)


def _blurred(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene, picture = _plain(rng)
    return scene, blurred(picture, BLUR_RADIUS)


def _noisy(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene, picture = _plain(rng)
    return scene, noisy(picture, NOISE, rng)


def _long(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene = plan_scene(rng, aspect_ratios=ODD_ASPECT_RATIOS)
    while not scene.objects:
        scene = plan_scene(rng, aspect_ratios=ODD_ASPECT_RATIOS)
    return scene, draw_scene(scene, rng)


def _plain(rng: random.Random) -> tuple[Scene, Image.Image]:
    scene = plan_scene(rng)
    return scene, draw_scene(scene, rng)


HARDER: Mapping[str, Callable[[random.Random], tuple[Scene, Image.Image]]] = MappingProxyType(
    {
        "small": _small,
        "overlapping": _overlapping,
        "JPEG quality 30": _in_jpeg,
        "blurred": _blurred,
        "noisy": _noisy,
        "odd aspect ratio": _long,
    }
)
"""How a scene of each kind is planned and drawn."""

"""The five example scenes that ship with the checkpoint, designed by hand."""

import random
from pathlib import Path

from training.scenes import draw_scene
from training.world import Scene, SceneObject


def _place(
    colour: str, shape: str, size: str, left: float, top: float, w: float, h: float
) -> SceneObject:
    return SceneObject(colour, shape, size, (left, top, left + w, top + h))


def example_scenes() -> dict[str, Scene]:
    """Return the scenes by file name."""
    return {
        "red_circle.png": Scene(
            240, 240, (196, 200, 190), (_place("red", "circle", "large", 0.3, 0.28, 0.4, 0.4),)
        ),
        "blue_square_and_yellow_star.png": Scene(
            320,
            240,
            (88, 104, 96),
            (
                _place("blue", "square", "medium", 0.12, 0.4, 0.24, 0.32),
                _place("yellow", "star", "large", 0.55, 0.2, 0.36, 0.48),
            ),
        ),
        "two_red_circles_and_blue_square.jpg": Scene(
            300,
            200,
            (206, 198, 180),
            (
                _place("red", "circle", "medium", 0.06, 0.3, 0.24, 0.36),
                _place("blue", "square", "medium", 0.38, 0.34, 0.22, 0.33),
                _place("red", "circle", "small", 0.74, 0.4, 0.16, 0.24),
            ),
        ),
        "green_triangle_above_orange_heart.png": Scene(
            200,
            300,
            (72, 74, 92),
            (
                _place("green", "triangle", "medium", 0.32, 0.1, 0.375, 0.25),
                _place("orange", "heart", "medium", 0.31, 0.55, 0.375, 0.25),
                _place("white", "ring", "small", 0.08, 0.38, 0.225, 0.15),
            ),
        ),
        "six_shapes.jpg": Scene(
            320,
            320,
            (150, 160, 168),
            (
                _place("purple", "diamond", "medium", 0.06, 0.08, 0.25, 0.25),
                _place("black", "crescent", "small", 0.44, 0.1, 0.16, 0.16),
                _place("yellow", "arrow", "medium", 0.7, 0.12, 0.24, 0.24),
                _place("green", "cross", "small", 0.1, 0.48, 0.15, 0.15),
                _place("red", "square", "large", 0.36, 0.42, 0.36, 0.36),
                _place("white", "star", "small", 0.8, 0.74, 0.16, 0.16),
            ),
        ),
    }


def draw_example_scenes(directory: Path) -> None:
    """Draw the scenes and write them to files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, scene in example_scenes().items():
        # The name is the seed, so that a change to one scene does not change the other files.
        draw_scene(scene, random.Random(name)).save(directory / name)

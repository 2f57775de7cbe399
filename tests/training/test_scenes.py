"""The renderer draws objects exactly in their boxes."""

import random

import numpy as np
import pytest
from PIL import Image

from training.scenes import draw_scene, outlines, squash
from training.world import MAX_OVERLAP, SHAPES, SIZES, Scene, SceneObject, overlap, plan_scene

GREY = (128, 128, 128)


class Unwilling(random.Random):
    """Random numbers that select a plain background and no JPEG."""

    def choice(self, seq):
        return seq[0]

    def random(self):
        return 0.99


def changed_box(picture: Image.Image) -> tuple[float, float, float, float]:
    """Return the normalised box around all pixels that differ from the plain background."""
    changed = np.abs(np.asarray(picture, dtype=int) - GREY).max(axis=2) > 12
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    height, width = changed.shape
    return (
        columns[0] / width,
        rows[0] / height,
        (columns[-1] + 1) / width,
        (rows[-1] + 1) / height,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(300, 200), (160, 213), (257, 257)])
def test_the_pixels_of_a_shape_fill_its_box(shape, size):
    """The model would learn an error of the boxes."""
    width, height = size
    box = (0.313, 0.271, 0.313 + 90 / width, 0.271 + 90 / height)
    scene = Scene(width, height, GREY, (SceneObject("red", shape, "large", box),))
    picture = draw_scene(scene, Unwilling(1))
    pixel = 1.6 / min(size)  # antialiasing makes the outermost row faint
    assert changed_box(picture) == pytest.approx(box, abs=pixel)
    assert changed_box(squash(picture)) == pytest.approx(box, abs=pixel + 2 / 224)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_touches_all_sides_of_the_unit_square(shape):
    points = np.array(outlines(shape)[0])
    assert points.min(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert points.max(axis=0) == pytest.approx([1, 1], abs=1e-9)


def test_planned_scenes_follow_the_world_s_rules():
    """One to six objects, none too small, inside the picture, with little overlap."""
    for seed in range(300):
        scene = plan_scene(random.Random(seed))
        assert 1 <= len(scene.objects) <= 6
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.xyxy
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert min(x1 - x0, y1 - y0) >= 0.12
            assert thing.size in SIZES
            others = [other for other in scene.objects if other is not thing]
            assert all(overlap(thing.xyxy, other.xyxy) <= MAX_OVERLAP for other in others)


def test_shapes_of_one_colour_never_touch():
    """They would look like one shape."""
    for seed in range(300):
        objects = plan_scene(random.Random(seed)).objects
        for thing in objects:
            for other in objects:
                if thing is not other and thing.colour == other.colour:
                    assert overlap(thing.xyxy, other.xyxy) == 0


def test_a_squashed_picture_has_the_model_s_size():
    assert squash(Image.new("RGB", (300, 100))).size == (224, 224)
    assert squash(Image.new("L", (10, 500))).mode == "RGB"

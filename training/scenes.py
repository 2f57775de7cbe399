"""Draws a planned scene with Pillow, and squashes pictures as the service does."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from app.checkpoint.picture_size import PICTURE_SIDE
from training.degradations import through_jpeg
from training.world import COLOURS, Scene, SceneObject

SUPERSAMPLING = 4
Point = tuple[float, float]


def _ellipse(centre: Point, radius: float, corners: int = 64) -> list[Point]:
    turns = [2 * math.pi * k / corners for k in range(corners)]
    return [
        (centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns
    ]


def _star() -> list[Point]:
    turns = [math.pi * (k / 5 - 0.5) for k in range(10)]
    radii = [1.0, 0.42] * 5
    return [(r * math.cos(t), r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]


def _heart() -> list[Point]:
    turns = [2 * math.pi * k / 64 for k in range(64)]
    return [
        (
            16 * math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]


def _crescent() -> list[Point]:
    outer = [(math.cos(t), math.sin(t)) for t in np.linspace(0.25, 2 * math.pi - 0.25, 48)]
    tip_x, tip_y = outer[0]
    centre_x = 0.45
    radius = math.hypot(tip_x - centre_x, tip_y)
    start = math.atan2(tip_y, tip_x - centre_x)
    inner = [
        (centre_x + radius * math.cos(t), radius * math.sin(t))
        for t in np.linspace(2 * math.pi - start, start, 48)
    ]
    return outer + inner


def _stretched(points: list[Point]) -> list[Point]:
    """Scale an outline to touch all four sides of the unit square, so that its box is exact."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x0, y0, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    return [((x - x0) / width, (y - y0) / height) for x, y in points]


def outlines(shape: str) -> list[list[Point]]:
    """Return the polygons of a shape in the unit square: fill the first, cut out the second."""
    match shape:
        case "circle":
            return [_ellipse((0.5, 0.5), 0.5)]
        case "ring":
            return [_ellipse((0.5, 0.5), 0.5), _ellipse((0.5, 0.5), 0.28)]
        case "square":
            return [[(0, 0), (1, 0), (1, 1), (0, 1)]]
        case "triangle":
            return [[(0.5, 0), (1, 1), (0, 1)]]
        case "diamond":
            return [[(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]]
        case "star":
            return [_stretched(_star())]
        case "heart":
            return [_stretched(_heart())]
        case "crescent":
            return [_stretched(_crescent())]
        case "cross":
            a, b = 0.33, 0.67
            right = [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b)]
            return [[*right, (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]]
        case "arrow":
            head = [(0.5, 0), (1, 0.5), (0.5, 1)]
            return [[*head, (0.5, 0.7), (0, 0.7), (0, 0.3), (0.5, 0.3)]]
    raise ValueError(f"unknown shape: {shape}")


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """Return the scene as an RGB picture of its own size, sometimes encoded as JPEG."""
    picture = _background(scene, rng)
    for thing in scene.objects:
        _paint(picture, thing, rng)
    if rng.random() < 0.4:
        picture = through_jpeg(picture, rng.randint(55, 95))
    return picture


def squash(picture: Image.Image) -> Image.Image:
    """Return the 224×224 input of the model, regardless of the aspect ratio."""
    side = (PICTURE_SIDE, PICTURE_SIDE)
    return picture.convert("RGB").resize(side, Image.Resampling.BICUBIC)


def _paint(picture: Image.Image, thing: SceneObject, rng: random.Random) -> None:
    """Draw one shape, antialiased, with edges exact to fractions of a pixel."""
    x0, y0, x1, y1 = thing.xyxy
    left, top = x0 * picture.width, y0 * picture.height
    width, height = (x1 - x0) * picture.width, (y1 - y0) * picture.height
    corner = math.floor(left), math.floor(top)
    size = math.ceil(left + width) - corner[0] + 1, math.ceil(top + height) - corner[1] + 1
    mask = Image.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
    pen = ImageDraw.Draw(mask)
    for order, outline in enumerate(outlines(thing.shape)):
        points = [
            (
                # Pillow counts from the centre of a pixel, outlines from its corner.
                (left - corner[0] + x * width) * SUPERSAMPLING - 0.5,
                (top - corner[1] + y * height) * SUPERSAMPLING - 0.5,
            )
            for x, y in outline
        ]
        pen.polygon(points, fill=0 if order else 255)
    colour = tuple(_jittered(level, rng) for level in COLOURS[thing.colour])
    picture.paste(colour, corner, mask.reduce(SUPERSAMPLING))


def _jittered(level: int, rng: random.Random) -> int:
    return max(0, min(255, level + rng.randint(-12, 12)))


def _background(scene: Scene, rng: random.Random) -> Image.Image:
    """Return a plain, graded, striped, cloudy or noisy background in the scene's colour."""
    size = (scene.width, scene.height)
    base = np.array(scene.background, dtype=np.float32)
    texture = rng.choice((None, None, _gradient, _stripes, _clouds, _grain))
    if texture is None:
        return Image.new("RGB", size, scene.background)
    relief = texture(scene.width, scene.height, rng)[..., None]  # (H, W, 1), about -1 to 1
    tint = np.array([rng.uniform(0.6, 1.0) for _ in range(3)], dtype=np.float32)
    pixels = base + rng.uniform(8, 24) * relief * tint
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def _gradient(width: int, height: int, rng: random.Random) -> np.ndarray:
    a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    return (a * x + b * y).astype(np.float32)


def _stripes(width: int, height: int, rng: random.Random) -> np.ndarray:
    a, b = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)
    return np.sin(a * np.arange(width) + b * np.arange(height)[:, None]).astype(np.float32)


def _grain(width: int, height: int, rng: random.Random) -> np.ndarray:
    noise = np.frombuffer(rng.randbytes(width * height), dtype=np.uint8)
    return noise.reshape(height, width).astype(np.float32) / 127.5 - 1


def _clouds(width: int, height: int, rng: random.Random) -> np.ndarray:
    cells = rng.randint(4, 24)
    coarse = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
    smooth = coarse.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(smooth, dtype=np.float32) / 127.5 - 1

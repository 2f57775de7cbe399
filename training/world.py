"""The contents of a scene: colours, shapes, sizes, and positions of objects."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "blue": (44, 74, 214),
    "green": (34, 152, 58),
    "yellow": (240, 216, 42),
    "purple": (136, 48, 170),
    "orange": (244, 132, 28),
    "pink": (246, 142, 190),
    "brown": (118, 70, 32),
    "white": (246, 246, 246),
    "black": (18, 18, 18),
}
SHAPES = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "star",
    "cross",
    "ring",
    "heart",
    "arrow",
    "crescent",
)
PLURALS = {shape: "crosses" if shape == "cross" else f"{shape}s" for shape in SHAPES}

# The side of a shape relative to the picture's longer side; the gaps make the words unambiguous.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.13, 0.17),
    "medium": (0.21, 0.27),
    "large": (0.33, 0.42),
}
MAX_OBJECTS = 6
MAX_OVERLAP = 0.15
ASPECT_RATIOS = (1.0, 1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3)


@dataclass(frozen=True)
class SceneObject:
    """One drawn shape and its box, in fractions of the picture."""

    colour: str
    shape: str
    size: str
    xyxy: Box

    @property
    def kind(self) -> tuple[str, str]:
        """Colour and shape, which a phrase names."""
        return self.colour, self.shape

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of the box."""
        x0, y0, x1, y1 = self.xyxy
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def area(self) -> float:
        """The area of the box, as a fraction of the picture."""
        x0, y0, x1, y1 = self.xyxy
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn. Objects are in the order of painting."""

    width: int
    height: int
    background: tuple[int, int, int]
    objects: tuple[SceneObject, ...]

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """Every combination of colour and shape in the scene."""
        return frozenset(thing.kind for thing in self.objects)


def overlap(a: Box, b: Box) -> float:
    """Return the shared area of two boxes, as a fraction of the smaller one."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / smaller


def plan_scene(
    rng: random.Random,
    num_objects: int | None = None,
    aspect_ratios: Sequence[float] = ASPECT_RATIOS,
) -> Scene:
    """Return a random scene with `num_objects`, by default 1 to 6; fewer if space runs out."""
    width, height = _picture_size(rng, aspect_ratios)
    background = _background(rng)
    # 110: below this distance in RGB, an object is hard to see on the background.
    colours = [name for name, rgb in COLOURS.items() if _distance(rgb, background) > 110]
    objects: list[SceneObject] = []
    for _ in range(num_objects or rng.randint(1, MAX_OBJECTS)):
        colour, shape = _kind(rng, colours, objects)
        if placed := _place(rng, colour, shape, width, height, objects):
            objects.append(placed)
    return Scene(width, height, background, tuple(objects))


def _picture_size(rng: random.Random, aspect_ratios: Sequence[float]) -> tuple[int, int]:
    longer = rng.randint(160, 320)
    aspect = rng.choice(aspect_ratios)
    if aspect >= 1:
        return longer, round(longer / aspect)
    return round(longer * aspect), longer


def _background(rng: random.Random) -> tuple[int, int, int]:
    """Return a greyish colour, from which most object colours differ clearly."""
    grey = rng.randint(30, 225)
    red, green, blue = (max(0, min(255, grey + rng.randint(-30, 30))) for _ in range(3))
    return red, green, blue


def _distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)


def _kind(rng: random.Random, colours: list[str], objects: list[SceneObject]) -> tuple[str, str]:
    """Return colour and shape, often shared with another object, so that phrases are ambiguous."""
    colour, shape = rng.choice(colours), rng.choice(SHAPES)
    if objects and rng.random() < 0.45:
        rival = rng.choice(objects)
        draw = rng.random()
        if draw < 0.75:
            shape = rival.shape
        if draw < 0.45 or draw >= 0.75:
            colour = rival.colour
    return colour, shape


def _place(
    rng: random.Random,
    colour: str,
    shape: str,
    width: int,
    height: int,
    objects: list[SceneObject],
) -> SceneObject | None:
    """Return one more object in a free place, or `None` after 30 tries."""
    for _ in range(30):
        size = rng.choice(list(SIZES))
        side = rng.uniform(*SIZES[size]) * max(width, height)
        w, h = side / width, side / height
        if w > 1 or h > 1:  # only in pictures longer than those of training
            continue
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        box = (x, y, x + w, y + h)
        thing = SceneObject(colour, shape, size, box)
        if all(_may_touch(thing, other) for other in objects):
            return thing
    return None


def _may_touch(a: SceneObject, b: SceneObject) -> bool:
    """Return whether the overlap is allowed; shapes of one colour must not overlap at all."""
    # Two overlapping shapes of one colour would merge into one shape.
    limit = 0.0 if a.colour == b.colour else MAX_OVERLAP
    return overlap(a.xyxy, b.xyxy) <= limit

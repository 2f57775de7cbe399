"""Spatial relations of objects: left of, above, between, largest; only clear cases count."""

import math
from collections.abc import Callable, Sequence

from training.world import SceneObject

# A relation holds above CLEAR and does not hold below UNCLEAR. No question uses the range between.
CLEAR = 0.08
UNCLEAR = 0.02
# Areas must differ by this factor before one object counts as the largest.
SIZE_RATIO = 1.3

RELATIONS = ("left of", "right of", "above", "below")
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def offset(thing: SceneObject, relation: str, landmark: SceneObject) -> float:
    """Return the distance of the centres in the relation's direction."""
    dx = thing.centre[0] - landmark.centre[0]
    dy = thing.centre[1] - landmark.centre[1]
    return {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation]


def main_relation(thing: SceneObject, landmark: SceneObject) -> str:
    """Return the relation that best describes the position of `thing`."""
    return max(RELATIONS, key=lambda relation: offset(thing, relation, landmark))


def nearest(thing: SceneObject, others: Sequence[SceneObject]) -> SceneObject:
    """Return the object of `others` with the closest centre."""
    return min(others, key=lambda other: math.dist(thing.centre, other.centre))


def only_one(
    candidates: Sequence[SceneObject], measure: Callable[[SceneObject], float]
) -> SceneObject | None:
    """Return the only candidate with a clear measure, `None` if another one is close to it."""
    ranked = sorted(candidates, key=measure, reverse=True)
    if not ranked or measure(ranked[0]) < CLEAR:
        return None
    if len(ranked) > 1 and measure(ranked[1]) > UNCLEAR:
        return None
    return ranked[0]


def betweenness(thing: SceneObject, a: SceneObject, b: SceneObject) -> float:
    """Return a margin in fractions of the picture, positive if `thing` is between `a` and `b`."""
    (ax, ay), (bx, by), (x, y) = a.centre, b.centre, thing.centre
    length = math.hypot(bx - ax, by - ay)
    # Between two close objects there is hardly any room for a third.
    if length < 0.3:
        return -1.0
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length
    aside = abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
    # In the middle eight tenths of the line, and close to it.
    return min(along - 0.1 * length, 0.9 * length - along, 0.2 - aside)


def extreme(candidates: Sequence[SceneObject], largest: bool) -> SceneObject | None:
    """Return the clearly largest (or smallest) of two or more candidates."""
    ranked = sorted(candidates, key=lambda thing: thing.area, reverse=largest)
    if len(ranked) < 2:
        return None
    first, second = ranked[0].area, ranked[1].area
    ratio = first / second if largest else second / first
    return ranked[0] if ratio >= SIZE_RATIO else None

"""Where objects lie to each other: left of, above, between, largest; only clear cases count."""

import math
from collections.abc import Callable, Sequence

from training.world import SceneObject

# A relation holds beyond CLEAR and certainly does not below UNCLEAR; in between nobody is asked.
CLEAR = 0.08
UNCLEAR = 0.02
SIZE_RATIO = 1.3

RELATIONS = ("left of", "right of", "above", "below")
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def offset(thing: SceneObject, relation: str, landmark: SceneObject) -> float:
    """How far `thing` lies from `landmark` in the relation's direction, centre to centre."""
    dx = thing.centre[0] - landmark.centre[0]
    dy = thing.centre[1] - landmark.centre[1]
    return {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation]


def main_relation(thing: SceneObject, landmark: SceneObject) -> str:
    """The relation that describes best where `thing` lies."""
    return max(RELATIONS, key=lambda relation: offset(thing, relation, landmark))


def nearest(thing: SceneObject, others: Sequence[SceneObject]) -> SceneObject:
    """The one of `others` whose centre is closest."""
    return min(others, key=lambda other: math.dist(thing.centre, other.centre))


def only_one(
    candidates: Sequence[SceneObject], measure: Callable[[SceneObject], float]
) -> SceneObject | None:
    """The only candidate whose measure is clear, unless another one comes close."""
    ranked = sorted(candidates, key=measure, reverse=True)
    if not ranked or measure(ranked[0]) < CLEAR:
        return None
    if len(ranked) > 1 and measure(ranked[1]) > UNCLEAR:
        return None
    return ranked[0]


def betweenness(thing: SceneObject, a: SceneObject, b: SceneObject) -> float:
    """Positive when `thing` lies between `a` and `b`: a margin, in parts of the picture."""
    (ax, ay), (bx, by), (x, y) = a.centre, b.centre, thing.centre
    length = math.hypot(bx - ax, by - ay)
    if length < 0.3:
        return -1.0
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length
    aside = abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
    return min(along - 0.1 * length, 0.9 * length - along, 0.2 - aside)


def extreme(candidates: Sequence[SceneObject], largest: bool) -> SceneObject | None:
    """The clearly largest (or smallest) of at least two candidates."""
    ranked = sorted(candidates, key=lambda thing: thing.area, reverse=largest)
    if len(ranked) < 2:
        return None
    first, second = ranked[0].area, ranked[1].area
    ratio = first / second if largest else second / first
    return ranked[0] if ratio >= SIZE_RATIO else None

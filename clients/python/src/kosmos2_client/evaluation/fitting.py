"""Fits monotone curves and logistic functions to measurements, without numpy."""

import math
from collections.abc import Sequence
from itertools import pairwise

DIGITS = 4
"""Decimals of a curve's points."""

_MAX_ITERATIONS = 100
_NUM_KNOTS = 6

Curve = tuple[tuple[float, float], ...]
"""Points (x, y) of a piecewise linear function; x rises from 0 to 1 and y never falls."""

IDENTITY: Curve = ((0.0, 0.0), (1.0, 1.0))

Knot = tuple[float, float, int]
"""A mean prediction, a mean measurement, and their number."""


def monotone_curve(predicted: Sequence[float], measured: Sequence[float]) -> Curve:
    """Return a rising, piecewise linear curve from predictions to measured means, both 0…1.

    Each knot is the mean of equally many predictions. Knots whose means fall are merged, as in
    isotonic regression. The curve starts at (0, 0) and keeps the last knot's slope to 1.

    >>> monotone_curve([0.3] * 6, [0.2, 0.4] * 3)
    ((0.0, 0.0), (0.3, 0.3), (1.0, 1.0))
    """
    pairs = sorted(zip(predicted, measured, strict=True))
    edges = [round(number * len(pairs) / _NUM_KNOTS) for number in range(_NUM_KNOTS + 1)]
    knots = list[Knot]()
    for start, end in pairwise(edges):
        if start == end:
            continue
        xs, ys = zip(*pairs[start:end], strict=True)
        knots.append((sum(xs) / len(xs), sum(ys) / len(ys), len(xs)))
        while len(knots) > 1 and not _rises(knots[-2], knots[-1]):
            knots[-2:] = [_merged(knots[-2], knots[-1])]
    inner = [(round(x, DIGITS), round(y, DIGITS)) for x, y, _ in knots]
    inner = [point for point in inner if 0 < point[0] < 1]
    last_x, last_y = inner[-1] if inner else (1.0, 1.0)
    return ((0.0, 0.0), *inner, (1.0, min(1.0, max(last_y, round(last_y / last_x, DIGITS)))))


def _rises(left: Knot, right: Knot) -> bool:
    """Return whether both coordinates rise, also after rounding."""
    return round(left[0], DIGITS) < round(right[0], DIGITS) and left[1] < right[1]


def _merged(left: Knot, right: Knot) -> Knot:
    number = left[2] + right[2]
    x, y = ((left[axis] * left[2] + right[axis] * right[2]) / number for axis in (0, 1))
    return x, y, number


def evaluate_curve(curve: Curve, x: float) -> float:
    """Return the curve's height at `x`, 0…1.

    >>> evaluate_curve(((0.0, 0.0), (0.5, 0.25), (1.0, 0.75)), 0.75)
    0.5
    """
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x <= x1:
            return min(y1, y0 + (y1 - y0) * (max(x, x0) - x0) / (x1 - x0))
    return curve[-1][1]


def compose_curves(outer: Curve, inner: Curve) -> Curve:
    """Return the curve that applies `inner`, then `outer`.

    It has the points of `inner`, and those where `inner` reaches a point of `outer`.

    >>> compose_curves(((0.0, 0.0), (0.5, 0.2), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0)))
    ((0.0, 0.0), (0.5, 0.2), (1.0, 1.0))
    """
    xs = {x for x, _ in inner}
    for (x0, y0), (x1, y1) in pairwise(inner):
        heights = (y for y, _ in outer if y0 < y < y1)
        xs.update(round(x0 + (x1 - x0) * (y - y0) / (y1 - y0), DIGITS) for y in heights)
    points = [
        (x, round(evaluate_curve(outer, evaluate_curve(inner, x)), DIGITS)) for x in sorted(xs)
    ]
    return tuple(points)


def logistic(values: Sequence[float], truths: Sequence[bool]) -> tuple[float, float]:
    """Return scale and bias so that `sigmoid(scale * value + bias)` is the probability of truth.

    The targets are not 0 and 1 but Platt's, with one more example of each kind, so that values
    which separate perfectly have a finite scale. Newton's method, with halved steps.
    """
    num_right = sum(truths)
    high, low = (num_right + 1) / (num_right + 2), 1 / (len(truths) - num_right + 2)
    targets = [high if truth else low for truth in truths]
    scale, bias = 1.0, 0.0
    loss = _loss(values, targets, scale, bias)
    for _ in range(_MAX_ITERATIONS):
        step_scale, step_bias = _newton_step(values, targets, scale, bias)
        size = 1.0
        while size > 1e-6 and (
            _loss(values, targets, scale - size * step_scale, bias - size * step_bias) > loss
        ):
            size /= 2
        scale, bias = scale - size * step_scale, bias - size * step_bias
        loss = _loss(values, targets, scale, bias)
        if max(abs(size * step_scale), abs(size * step_bias)) < 1e-8:
            break
    return scale, bias


def _newton_step(
    values: Sequence[float], targets: Sequence[float], scale: float, bias: float
) -> tuple[float, float]:
    """Return Newton's step, to be subtracted from scale and bias."""
    slope_scale = slope_bias = 0.0
    curve_scale = curve_bias = 1e-9  # keeps the matrix invertible
    curve_both = 0.0
    for value, target in zip(values, targets, strict=True):
        probability = sigmoid(scale * value + bias)
        error, weight = probability - target, probability * (1 - probability)
        slope_scale, slope_bias = slope_scale + error * value, slope_bias + error
        curve_scale += weight * value * value
        curve_both += weight * value
        curve_bias += weight
    determinant = curve_scale * curve_bias - curve_both * curve_both
    return (
        (curve_bias * slope_scale - curve_both * slope_bias) / determinant,
        (curve_scale * slope_bias - curve_both * slope_scale) / determinant,
    )


def _loss(values: Sequence[float], targets: Sequence[float], scale: float, bias: float) -> float:
    total = 0.0
    for value, target in zip(values, targets, strict=True):
        z = scale * value + bias
        total += max(z, 0.0) + math.log1p(math.exp(-abs(z))) - target * z
    return total


def sigmoid(value: float) -> float:
    """Return `1 / (1 + exp(-value))` without an overflow.

    >>> sigmoid(0.0)
    0.5
    """
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    odds = math.exp(value)
    return odds / (1 + odds)

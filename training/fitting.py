"""Fits monotone curves and logistic functions to measurements."""

import math
from collections.abc import Sequence

import numpy as np

from app.checkpoint.calibration import Curve

MAX_ITERATIONS = 50
DIGITS = 4
"""Decimals of a curve's points."""

Knot = tuple[float, float, float]
"""A mean prediction, a mean measurement, and their weight."""


def monotone_curve(
    predicted: Sequence[float],
    measured: Sequence[float],
    weights: Sequence[float],
    num_knots: int = 6,
) -> Curve:
    """Return a rising, piecewise linear curve from predictions to measured means, both 0…1.

    Each knot is the mean of predictions of equal total weight. Knots whose means fall are merged,
    as in isotonic regression. The curve starts at (0, 0) and keeps the last knot's slope to 1.

    >>> monotone_curve([0.2, 0.4, 0.6, 0.8], [0.1, 0.3, 0.5, 0.6], [1.0] * 4, num_knots=2)
    ((0.0, 0.0), (0.3, 0.2), (0.7, 0.55), (1.0, 0.7857))
    """
    order = np.argsort(predicted, kind="stable")
    x, y, w = (np.asarray(values, dtype=float)[order] for values in (predicted, measured, weights))
    bins = np.minimum((np.cumsum(w) - w / 2) / w.sum() * num_knots, num_knots - 1).astype(int)
    knots: list[Knot] = []
    for number in np.unique(bins):
        members = bins == number
        knots.append(_mean_knot(x[members], y[members], w[members]))
        while len(knots) > 1 and not _rises(knots[-2], knots[-1]):
            merged = np.array(knots[-2:])  # (2, 3)
            knots[-2:] = [_mean_knot(*merged.T)]
    points = [(round(x, DIGITS), round(y, DIGITS)) for x, y, _ in knots]
    inner = [point for point in points if 0 < point[0] < 1]
    last_x, last_y = inner[-1] if inner else (1.0, 1.0)
    end = min(1.0, max(last_y, round(last_y / last_x, DIGITS)))
    return ((0.0, 0.0), *inner, (1.0, end))


def _rises(left: Knot, right: Knot) -> bool:
    """Return whether both coordinates rise, also after rounding."""
    return round(left[0], DIGITS) < round(right[0], DIGITS) and left[1] < right[1]


def _mean_knot(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Knot:
    total = weights.sum()
    return float((x * weights).sum() / total), float((y * weights).sum() / total), float(total)


def logistic(values: Sequence[float], truths: Sequence[bool]) -> tuple[float, float]:
    """Return scale and bias so that `sigmoid(scale * value + bias)` is the probability of truth.

    The targets are not 0 and 1 but Platt's, with one more example of each kind, so that values
    which separate perfectly have a finite scale.
    """
    num_right = sum(truths)
    num_wrong = len(truths) - num_right
    high, low = (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2)
    x = np.asarray(values, dtype=float)
    target = np.where(truths, high, low)  # (N,)
    inputs = np.stack([x, np.ones_like(x)], axis=1)  # (N, 2)
    weights = np.array([1 / (x.std() or 1.0), 0.0])
    for _ in range(MAX_ITERATIONS):
        loss, step = _newton_step(inputs, target, weights)
        size = 1.0
        while size > 1e-6 and _log_loss(inputs, target, weights - size * step) > loss:
            size /= 2
        weights = weights - size * step
        if abs(size * step).max() < 1e-8:
            break
    return float(weights[0]), float(weights[1])


def _newton_step(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the loss and Newton's step, to be subtracted."""
    probability = 1 / (1 + np.exp(-(inputs @ weights).clip(-500, 500)))  # (N,)
    gradient = inputs.T @ (probability - target)
    curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
    step: np.ndarray = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
    return _log_loss(inputs, target, weights), step


def _log_loss(inputs: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    z = inputs @ weights
    return float((np.logaddexp(0, z) - target * z).sum())


def log_loss(probabilities: Sequence[float], truths: Sequence[bool]) -> float:
    """Return the mean negative log likelihood; a certain error counts as one in a billion.

    >>> round(log_loss([0.5, 0.5], [True, False]), 3)
    0.693
    """
    right = [p if truth else 1 - p for p, truth in zip(probabilities, truths, strict=True)]
    return -sum(math.log(max(p, 1e-9)) for p in right) / len(right)

"""The overlap of two boxes."""

from kosmos2_client.entities import Edges


def iou(box: Edges, other: Edges) -> float:
    """Return the intersection over union, 0…1; 0 for boxes without area.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    shared = intersection(box, other)
    return shared / (area(box) + area(other) - shared) if shared > 0 else 0.0


def exceeds_iou(box: Edges, other: Edges, limit: float) -> bool:
    """Return whether two boxes overlap by more than `limit`, without a division."""
    shared = intersection(box, other)
    return shared > limit * (area(box) + area(other) - shared)


def intersection(box: Edges, other: Edges) -> float:
    """Return the area that two boxes share."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(0.0, width) * max(0.0, height)


def area(box: Edges) -> float:
    """Return the area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])

"""Boxes of several views become predictions: the same ones, in any order of arrival."""

from itertools import permutations

import pytest

from app.detect.collector import Collector
from app.detect.predictions import ClassResult
from app.detect.requests import DetectRequest, Suppression
from app.detect.rows import RowResult
from app.grounding.answers import ImageFacts, Usage
from app.grounding.localization import Localization
from app.pictures.marks import Box
from app.pictures.tiles import Tile

IMAGE = ImageFacts(200, 100, 1)
LEFT, RIGHT = (0, 0, 120, 100), (80, 0, 200, 100)
USAGE = Usage(70, 5, 0)


def collector(views: list[Tile | None], **fields: object) -> Collector:
    request = DetectRequest(b"", ("disc", "square"), **fields)  # type: ignore[arg-type]
    return Collector(request, 0.25, IMAGE, views)


def row(*boxes: tuple[Box, float], presence: float = 1.0) -> RowResult:
    return RowResult(presence, tuple(Localization(*box) for box in boxes), USAGE)


def boxes_of(result: ClassResult | None) -> list[Box]:
    assert result is not None
    return [prediction.xyxy for prediction in result.predictions]


def test_a_class_is_final_after_its_last_view_and_does_not_depend_on_their_order() -> None:
    """Two views show the same object, in boxes of the same confidence."""
    rows = [
        row(((0.5, 0.2, 0.7, 0.6), 0.9)),
        row(((0.8333, 0.2, 0.99, 0.6), 0.9)),  # touches the cut edge of the left tile
        row(((0.1667, 0.2, 0.5, 0.6), 0.9), presence=0.5),
    ]
    results = set()
    for order in permutations(range(3)):
        merged = collector([None, LEFT, RIGHT])
        *early, last = [merged.add(0, view, rows[view]) for view in order]
        assert early == [None, None]
        assert last is not None
        assert (last.presence, merged.usage) == (1.0, Usage(210, 15, 0))
        results.add(tuple(boxes_of(last)))
    assert results == {((100.0, 20.0, 140.0, 60.0),)}


@pytest.mark.parametrize(
    ("tile", "box", "is_kept"),
    [
        (LEFT, (0.0, 0.0, 0.5, 1.0), True),  # edges of the picture itself
        (LEFT, (0.5, 0.2, 1.0, 0.6), False),
        (RIGHT, (0.0, 0.2, 0.5, 0.6), False),
        (RIGHT, (0.5, 0.2, 1.0, 1.0), True),
        ((0, 0, 200, 50), (0.2, 0.2, 0.5, 1.0), False),
        ((0, 50, 200, 100), (0.2, 0.0, 0.5, 0.5), False),
        ((40, 25, 160, 75), (0.2, 0.2, 0.5, 0.5), True),  # cut on all sides
        (None, (0.0, 0.0, 1.0, 1.0), True),
    ],
)
def test_a_box_at_a_cut_edge_is_dropped(tile: Tile | None, box: Box, is_kept: bool) -> None:
    """The object may continue beyond it; another view shows it complete."""
    assert len(boxes_of(collector([tile]).add(0, 0, row((box, 0.9))))) == is_kept


def test_the_threshold_applies_to_presence_times_expected_overlap() -> None:
    boxes = [((0.0, 0.0, 0.2, 0.2), 0.6), ((0.5, 0.5, 0.8, 0.8), 0.4)]
    result = collector([None]).add(0, 0, row(*boxes, presence=0.5))
    assert result is not None
    assert [prediction.confidence for prediction in result.predictions] == [0.3]


def test_only_the_best_predictions_of_a_class_stay() -> None:
    boxes = [((n / 10, 0.0, n / 10 + 0.09, 0.5), 0.3 + n / 20) for n in range(9)]
    result = collector([None], max_per_class=2).add(0, 0, row(*boxes))
    assert [round(box[0]) for box in boxes_of(result)] == [160, 140]


def test_classes_that_suppress_each_other_are_final_together() -> None:
    merged = collector([None], suppression=Suppression(class_agnostic=True))
    assert merged.add(0, 0, row(((0.0, 0.0, 0.5, 0.5), 0.9))) is None
    assert merged.add(1, 0, row(((0.0, 0.0, 0.5, 0.4), 0.8))) is None
    disc, square = merged.merge_all()
    assert (len(disc.predictions), square.predictions) == (1, ())

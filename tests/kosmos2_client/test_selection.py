"""Thresholds and suppression at export."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.detect.nms import suppress
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.selection import Selection, read_thresholds
from kosmos2_client.results import Prediction


def prediction(name: str, box: tuple[float, ...], confidence: float) -> Prediction:
    return Prediction(name, ord(name), box, box, confidence)  # type: ignore[arg-type]


LEFT = prediction("a", (0, 0, 10, 10), 0.9)
SHIFTED = prediction("a", (1, 0, 11, 10), 0.8)
OTHER_CLASS = prediction("b", (0, 0, 10, 10), 0.5)
ALL = (OTHER_CLASS, SHIFTED, LEFT)


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(), (LEFT, SHIFTED, OTHER_CLASS)),
        (Selection(threshold=0.8), (LEFT, SHIFTED)),
        (Selection(threshold=0.8, thresholds={"b": 0.5}), (LEFT, SHIFTED, OTHER_CLASS)),
        (Selection(thresholds={"a": 0.85}), (LEFT, OTHER_CLASS)),
        (Selection(nms_iou=0.5), (LEFT, OTHER_CLASS)),
        (Selection(nms_iou=0.5, class_agnostic=True), (LEFT,)),
        (Selection(nms_iou=0.9), (LEFT, SHIFTED, OTHER_CLASS)),
    ],
)
def test_the_selection_keeps_sure_predictions_that_no_better_one_covers(
    selection: Selection, kept: tuple[Prediction, ...]
) -> None:
    assert selection.apply(ALL) == kept


boxes = st.lists(
    st.tuples(st.sampled_from("ab"), *[st.integers(0, 8)] * 2, *[st.integers(1, 6)] * 2),
    max_size=12,
)


@given(boxes, st.sampled_from([0.0, 0.3, 0.5, 0.7]), st.booleans())
def test_suppression_equals_that_of_the_service(
    rows: list[tuple[str, int, int, int, int]], iou: float, class_agnostic: bool
) -> None:
    predictions = [
        prediction(name, (x, y, x + width, y + height), 1 - number / 100)
        for number, (name, x, y, width, height) in enumerate(rows)
    ]
    expected = suppress(
        np.array([one.xyxy for one in predictions], float).reshape(-1, 4),
        np.array([one.confidence for one in predictions]),
        np.array([one.class_id for one in predictions], int),
        iou=iou,
        class_agnostic=class_agnostic,
    )
    kept = Selection(nms_iou=iou, class_agnostic=class_agnostic).apply(predictions)
    assert kept == tuple(predictions[number] for number in expected)


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": 1.5}', '{"a": null}'])
def test_a_file_without_thresholds_is_reported(text: str, tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="thresholds.json"):
        read_thresholds(path)

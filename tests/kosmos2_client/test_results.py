"""Typed answers agree with the answers of the service."""

import json
import re
from pathlib import Path

import pytest

from app.contract.detect_models import DetectionsBody
from kosmos2_client import Detections, Grounding, Image, InvalidAnswer
from kosmos2_client.results import read_result
from tests.kosmos2_client.answers import box, detections, entity, grounding

PAGE = Path(__file__).parents[2] / "docs" / "requests.md"


def test_the_documented_answer_is_read_completely() -> None:
    [block] = re.findall(r"^```json\n(\{.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    answer = json.loads(block)
    result = read_result(answer)
    assert isinstance(result, Grounding)
    assert (result.text, result.answer) == (answer["text"], answer["answer"])
    assert [one.phrase for one in result.entities] == [one["phrase"] for one in answer["entities"]]
    assert len(result) == 3
    assert [one.class_id for one in result.predictions] == [0, 0, 1]
    assert list(result.predictions[0].xyxy) == answer["entities"][0]["boxes"][0]["xyxy_refined"]


def test_a_detection_has_every_field_of_the_contract() -> None:
    """The hand-made answer of these tests must not differ from the service's."""
    answer = detections("red circle")
    assert DetectionsBody.model_validate(answer).to_json().keys() == answer.keys()
    result = read_result(answer)
    assert isinstance(result, Detections)
    [found] = result
    assert (found.class_name, found.class_id, found.confidence) == ("red circle", 0, 0.9)
    assert (result.threshold, result.classes[0].presence) == (0.3, 0.9)
    assert result.image == Image(200, 100, orientation=6)


def test_boxes_of_the_request_are_no_predictions() -> None:
    result = read_result(
        grounding(entity("it", box(None), from_prompt=True), entity(None, box(0.8)))
    )
    assert isinstance(result, Grounding)
    assert [(one.class_name, one.confidence) for one in result.predictions] == [("", 0.8)]
    assert result.entities[0].boxes[0].xyxy_refined is None


@pytest.mark.parametrize("missing", ["id", "classes", "image", "confidence"])
def test_an_answer_without_a_field_is_invalid(missing: str) -> None:
    answer = detections("a")
    del answer[missing]
    with pytest.raises(InvalidAnswer, match=missing):
        read_result(answer)

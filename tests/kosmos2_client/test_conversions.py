"""The methods `to_…` of answers; tests/clients compares them with the tools that read them."""

import pytest

from app.contract.response_models import AnswerBody
from app.grounding.answers import AnswerBox
from harness.run_files import detect_answer
from harness.sample_answers import sample_answer
from kosmos2_client.results import Detections, Grounding

CIRCLE = ("red circle", (10.0, 20.0, 60.0, 70.0), 0.9)
SQUARE = ("blue square", (100.0, 0.0, 200.0, 100.0), 0.4)
EMPTY = Detections.from_json(detect_answer([]))
BOTH = Detections.from_json(detect_answer([CIRCLE, SQUARE, CIRCLE]))


def grounding(box: AnswerBox) -> Grounding:
    return Grounding.from_json(AnswerBody.from_answer(sample_answer(box)).model_dump(mode="json"))


REFINED = AnswerBox(
    (0, 0, 32, 24), (0, 0, 0.5, 0.5), (0, 495), 0.8, (1, 1, 33, 25), (0, 0, 1, 1), 0.7
)
"""A box of a dog, whose normalized refined form is the whole picture."""

FROM_PROMPT = AnswerBox((0, 0, 32, 24), (0, 0, 0.5, 0.5), (0, 495), None)


def test_a_detection_becomes_results_of_coco() -> None:
    assert BOTH.to_coco(image_id=7) == [
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 50, 50], "score": 0.9},
        {"image_id": 7, "category_id": 2, "bbox": [100, 0, 100, 100], "score": 0.4},
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 50, 50], "score": 0.9},
    ]
    assert BOTH.to_coco(7, {"blue square": 40})[0]["category_id"] == 40
    assert EMPTY.to_coco(7) == []


def test_a_detection_becomes_the_text_of_a_label_file() -> None:
    assert BOTH.to_yolo().splitlines()[1] == "1 0.750000 0.500000 0.500000 1.000000"
    assert BOTH.to_yolo({"blue square": 0}) == "0 0.750000 0.500000 0.500000 1.000000\n"
    assert EMPTY.to_yolo() == ""


def test_a_detection_becomes_a_prediction_of_label_studio() -> None:
    prediction = BOTH.to_label_studio(from_name="boxes", to_name="photo")
    assert prediction["score"] == pytest.approx((0.9 + 0.4 + 0.9) / 3, abs=1e-4)
    region = prediction["result"][1]
    assert (region["from_name"], region["to_name"], region["score"]) == ("boxes", "photo", 0.4)
    assert region["value"]["x"] == 50
    assert EMPTY.to_label_studio()["result"] == []


def test_the_tuple_of_a_detection_lists_its_classes() -> None:
    text, entities = BOTH.to_tuple()
    assert text == "red circle, blue square"
    assert [(phrase, text[slice(*span)], len(boxes)) for phrase, span, boxes in entities] == [
        ("red circle", "red circle", 2),
        ("blue square", "blue square", 1),
    ]
    assert EMPTY.to_tuple() == ("", [])


@pytest.mark.parametrize(
    ("box", "expected"), [(REFINED, (0, 0, 1, 1)), (FROM_PROMPT, (0, 0, 0.5, 0.5))]
)
def test_the_tuple_of_a_grounding_has_refined_boxes_where_they_exist(
    box: AnswerBox, expected: tuple[float, ...]
) -> None:
    assert grounding(box).to_tuple() == ("a dog", [("a dog", (0, 5), [expected])])


def test_a_grounding_has_its_phrases_as_classes() -> None:
    assert grounding(REFINED).to_yolo({"a dog": 3}) == "3 0.500000 0.500000 1.000000 1.000000\n"
    assert grounding(FROM_PROMPT).to_coco(1) == []

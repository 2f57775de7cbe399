"""Seconds, scores and refined boxes are rounded in every representation of an answer."""

import json
from typing import Any

import pytest

from app.contract.response_models import AnswerBody, EntityEvent
from app.grounding.answers import (
    Answer,
    AnswerBox,
    NewEntity,
)
from harness.answers import are_same
from harness.sample_answers import sample_answer


def answer_with(score: float | None, seconds: float) -> Answer:
    refined = None if score is None else (1 / 3, 2 / 3, 31 + 1 / 3, 23 + 2 / 3)
    confidence = None if score is None else 0.8766660001
    share = None if score is None else (1 / 192, 1 / 72, 0.5, 0.5)
    box = AnswerBox(
        (0.0, 0.0, 32.0, 24.0), (0.0, 0.0, 0.5, 0.5), (0, 495), score, refined, share, confidence
    )
    return sample_answer(box, seconds, is_calibrated=True)


def json_of(answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(AnswerBody.from_answer(answer).model_dump_json())
    return content


def test_an_answer_has_scores_of_4_and_seconds_of_6_decimals() -> None:
    content = json_of(answer_with(score=0.6797713917825405, seconds=6.317500083241612e-05))
    assert content["entities"][0]["boxes"][0]["score"] == 0.6798
    assert set(content["timings"].values()) == {0.000063}


def test_refined_boxes_have_4_decimals_in_pixels_and_6_normalised() -> None:
    content = json_of(answer_with(score=0.6797713917825405, seconds=1.0))
    box = content["entities"][0]["boxes"][0]
    assert box["xyxy_refined"] == [0.3333, 0.6667, 31.3333, 23.6667]
    assert box["xyxy_refined_normalized"] == [0.005208, 0.013889, 0.5, 0.5]
    assert box["confidence"] == 0.8767
    assert content["calibrated"] is True


def test_a_streamed_entity_has_the_same_score_as_the_whole_answer() -> None:
    answer = answer_with(score=0.6797713917825405, seconds=1.0)
    event = EntityEvent.model_validate(NewEntity(0, answer.grounded.entities[0]))
    assert event.model_dump()["entity"] == json_of(answer)["entities"][0]


def test_score_and_refined_box_of_a_box_from_the_prompt_stay_null() -> None:
    box = json_of(answer_with(score=None, seconds=1.0))["entities"][0]["boxes"][0]
    names = ("score", "xyxy_refined", "xyxy_refined_normalized", "confidence")
    assert [box[name] for name in names] == [None] * 4


@pytest.mark.parametrize(("score", "other"), [(0.51004999, 0.51005001), (0.5, 0.50045)])
def test_rounding_does_not_make_close_scores_differ(score: float, other: float) -> None:
    answers = [json_of(answer_with(value, seconds=1.0)) for value in (score, other)]
    assert are_same(*answers)

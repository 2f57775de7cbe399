"""The evaluation's formulas, checked with examples computed by hand."""

import math

import numpy as np
import pytest

from app.grounding.localization import CellDistribution
from app.grounding.markup import parse, write_object
from training.answering import Answer, GeneratedBox
from training.evaluate import Asked, evaluate, generated_boxes, kind_named
from training.grammar import Example
from training.metrics import (
    Counts,
    iou,
    iou_of_perfect_tokens,
    num_matches,
    reliability,
    roc_auc,
    roc_curve,
)
from training.world import SceneObject

LEFT, RIGHT, WHOLE = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)


def test_iou():
    assert iou(LEFT, WHOLE) == 0.5
    assert iou(LEFT, RIGHT) == 0
    assert iou(LEFT, LEFT) == 1
    assert iou((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)) == pytest.approx(1 / 7)


def test_perfect_tokens_lose_half_a_cell_at_every_edge():
    assert iou_of_perfect_tokens((0.0, 0.0, 1.0, 1.0)) == pytest.approx((31 / 32) ** 2)


def test_a_box_is_matched_once():
    assert num_matches([WHOLE, WHOLE], [WHOLE]) == 1
    assert num_matches([WHOLE], [WHOLE, WHOLE]) == 1
    assert num_matches([LEFT, RIGHT], [RIGHT, LEFT]) == 2
    assert num_matches([(0.0, 0.0, 0.4, 1.0)], [WHOLE]) == 0


def test_f1():
    counts = Counts()
    counts.add(right=1, found=2, wanted=1)
    counts.add(right=1, found=1, wanted=4)
    assert counts.f1 == pytest.approx(2 * 2 / (3 + 5))
    assert Counts().f1 == 1


def test_area_under_the_curve():
    assert roc_auc([0.9, 0.8, 0.2, 0.1], [True, False, True, False]) == 0.75
    assert roc_auc([0.5, 0.5], [True, False]) == 0.5
    assert math.isnan(roc_auc([0.5], [True]))
    assert roc_curve([0.9, 0.1], [True, False]) == [(0, 0), (0, 1), (1, 1)]


def test_reliability_bins_hold_their_own_scores():
    low, high = reliability([0.05, 0.95, 0.99, 1.0], [False, True, True, False])
    assert (low.mean_score, low.accuracy, low.num_boxes) == (0.05, 0, 1)
    assert high.mean_score == pytest.approx(0.98)
    assert (high.accuracy, high.num_boxes) == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a large red circle left of the blue square.", ("red", "circle")),
        ("two green crosses", ("green", "cross")),
        ("It is yellow.", ("yellow", None)),
        ("something", (None, None)),
    ],
)
def test_the_kind_named_first(text, kind):
    assert kind_named(text) == kind


def generated_box(pair, score):
    """Return a box whose corners are certain, with any score."""
    corners = (CellDistribution(np.array([cell]), np.array([1.0])) for cell in pair)
    return GeneratedBox(pair, score, *corners)


def asked(kind, prompt, right_answer, given_answer, targets=(), scores=()):
    parsed = parse(prompt + given_answer)
    boxes = [box for entity in parsed.entities for box in entity.boxes]
    pairs = [box.patch_indices for box in boxes[len(boxes) - len(scores) :]]
    generated = [generated_box(*given) for given in zip(pairs, scores, strict=True)]
    answer = Answer(parsed, parse(given_answer).text, tuple(generated))
    return Asked(Example(kind, prompt, right_answer, tuple(targets)), answer)


def value_of(evaluation, task, measure):
    return next(r.value for r in evaluation.rows if (r.task, r.measure) == (task, measure))


CIRCLE = SceneObject("red", "circle", "large", (0.25, 0.25, 0.75, 0.75))
RING = SceneObject("blue", "ring", "small", (0.0, 0.0, 0.2, 0.2))
ON_CIRCLE, ON_RING = write_object([(264, 759)]), write_object([(0, 198)])


def test_boxes_of_the_prompt_do_not_count_as_the_answer_s():
    prompt = f"<grounding><phrase> It</phrase>{ON_CIRCLE} is"
    answer = f" left of<phrase> the ring</phrase>{ON_RING}"
    one = asked("region_description", prompt, "", answer, [CIRCLE], [0.9])
    assert len(generated_boxes(one)) == 1
    assert iou(generated_boxes(one)[0], RING.xyxy) > 0.5


def test_the_table():
    """Each measure is computed for one right and one wrong answer."""
    phrase = "<grounding><phrase> a red circle</phrase>"
    both = f"<phrase> a red circle</phrase>{ON_CIRCLE} and<phrase> a blue ring</phrase>{ON_RING}."
    swapped = f"<phrase> a blue ring</phrase>{ON_CIRCLE} and<phrase> a blue ring</phrase>{ON_RING}."
    question = "<grounding> Question: What color is the circle? Answer:"
    evaluation = evaluate(
        [
            asked("phrase_grounding", phrase, "", ON_CIRCLE, [CIRCLE], [0.9]),
            asked("phrase_grounding", phrase, "", ON_RING, [CIRCLE], [0.2]),
            asked("several_objects", phrase, "", ON_CIRCLE, [CIRCLE, CIRCLE], [0.9]),
            asked("referring_expression", phrase, "", "", [CIRCLE]),
            asked("region_description", phrase, "", " a red circle.", [CIRCLE]),
            asked("region_description", phrase, "", " a red ring.", [CIRCLE]),
            asked("vqa_colour", question, " It is red.", " It is red."),
            asked("vqa_colour", question, " It is red.", " It is blue."),
            asked("brief_caption", "An image of", both, both, [CIRCLE, RING], [0.8, 0.7]),
            asked("detailed_caption", "In detail:", both, swapped, [CIRCLE, RING], [0.8, 0.7]),
        ]
    )
    assert value_of(evaluation, "phrase grounding", "accuracy at IoU 0.5") == 0.5
    assert value_of(evaluation, "phrase for several objects", "F1 at IoU 0.5") == pytest.approx(
        2 / 3
    )
    assert value_of(evaluation, "referring expression", "accuracy at IoU 0.5") == 0
    assert value_of(evaluation, "generation from a box", "colour and shape right") == 0.5
    assert value_of(evaluation, "VQA", "exact answer") == 0.5
    assert value_of(evaluation, "brief caption", "F1 of grounded objects") == 1
    assert value_of(evaluation, "detailed caption", "F1 of grounded objects") == 0.5
    assert value_of(evaluation, "box score", "area under the ROC curve") == 1
    assert "| phrase grounding |" in evaluation.as_text()

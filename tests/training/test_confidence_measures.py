"""The measures of boxes, confidence and presence, checked with examples computed by hand."""

import numpy as np
import pytest

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.grounding.boxes import box_to_patch_indices, patch_indices_to_box
from app.grounding.localization import CellDistribution
from training.answering import GeneratedBox
from training.confidence_measures import (
    Measure,
    RatedBox,
    confidence_measures,
    fit_measures,
    presence_measures,
    rated_boxes,
)
from training.confidence_plots import draw_boxes, draw_reliability
from training.confidence_questions import ClassQuestion, Grounded
from training.evaluate_confidence import Answers, as_text, evaluate, report
from training.measured_scenes import measured_scene

LEFT, RIGHT = (
    patch_indices_to_box(*box_to_patch_indices(box))
    for box in ((0.0, 0.0, 0.4, 0.9), (0.6, 0.1, 0.95, 0.9))
)


def box_at(box, certainty):
    pair = box_to_patch_indices(box)
    corners = (CellDistribution(np.array([cell]), np.array([certainty])) for cell in pair)
    return GeneratedBox(pair, certainty, *corners)


def grounded(kind, task, certainty, target, scene=0):
    return Grounded(scene, kind, task, (box_at(LEFT, certainty), box_at(RIGHT, 0.9)), (target,))


ANSWERS = [
    grounded("clean", "phrases", 0.9, LEFT),
    grounded("clean", "phrases", 0.5, RIGHT, 1),
    grounded("clean", "captions", 0.8, LEFT),
    grounded("small", "phrases", 0.8, LEFT),
    grounded("noisy", "phrases", 0.7, RIGHT),
]


def value_of(measures, name):
    [value] = [one.value for one in measures if one.name == name]
    return value


def test_goals_are_reached_from_above_or_from_below():
    assert Measure("", 0.9, 1).is_met
    assert Measure("", 0.9, 1, goal=0.9).is_met
    assert not Measure("", 0.8, 1, goal=0.9).is_met
    assert Measure("", 0.02, 1, goal=0.03, is_limit=True).is_met
    assert "≤ 0.03, missed" in Measure("", 0.04, 1, goal=0.03, is_limit=True).as_line()


def test_the_first_box_of_a_phrase_and_every_box_of_a_caption_count():
    rated = rated_boxes(ANSWERS, UNCALIBRATED)
    assert [box.iou for box in rated["clean"]["phrases"]] == [pytest.approx(1), 0]
    assert len(rated["clean"]["captions"]) == 2
    assert [box.score for box in rated["harder"]["phrases"]] == [0.8, 0.7]


def test_a_phrase_without_a_box_fits_nothing():
    silent = Grounded(2, "clean", "phrases", (), (LEFT,))
    measures = fit_measures([*ANSWERS, silent], UNCALIBRATED)
    assert value_of(measures, "refined boxes: mean IoU") == pytest.approx(1 / 3)
    assert value_of(measures, "refined boxes: share with IoU ≥ 0.9") == pytest.approx(1 / 3)
    assert value_of(measures, "boxes of perfect cells: mean IoU") == pytest.approx(1.0)


def test_the_calibration_changes_the_error_but_not_the_area():
    curve = Calibration(confidence_curve=((0.0, 0.0), (0.25, 0.0), (0.81, 1.0), (1.0, 1.0)))
    name = "clean scenes, phrases"
    plain, corrected = (
        confidence_measures(rated_boxes(ANSWERS, each)) for each in (UNCALIBRATED, curve)
    )
    area = f"{name}: area under the ROC curve of confidence, IoU ≥ 0.5"
    assert value_of(plain, area) == value_of(corrected, area) == 1
    error = f"{name}: calibration error of confidence"
    assert value_of(plain, error) == pytest.approx((1 - 0.81 + 0.25) / 2)
    assert value_of(corrected, error) == pytest.approx(0.0, abs=1e-9)


def test_presence_is_compared_with_random_and_with_similar_absent_classes():
    questions = [
        ClassQuestion(0, "red circle", "present", (LEFT,)),
        ClassQuestion(0, "blue ring", "absent", ()),
        ClassQuestion(0, "red ring", "similar", ()),
    ]
    boxes = [RatedBox(0.5, 0.5, 1.0), RatedBox(0.9, 0.4, 0.0), RatedBox(0.1, 0.6, 0.0)]
    measures = presence_measures(questions, [0.8, 0.1, 0.9], boxes)
    random_class, similar = (
        f"present against {words}"
        for words in ("a random absent class", "an absent class whose colour or shape is there")
    )
    assert value_of(measures, f"{random_class}: presence") == 1
    assert value_of(measures, f"{similar}: presence") == 0
    assert value_of(measures, f"{random_class}: score of the forced box") == 0
    assert value_of(measures, f"{random_class}: confidence of the forced box") == 1


def test_the_report_has_every_measure_and_its_pictures(tmp_path):
    question = ClassQuestion(0, "red circle", "present", (LEFT,))
    absent = ClassQuestion(0, "blue ring", "absent", ())
    forced = [
        Grounded(0, "clean", "classes", (box_at(LEFT, 0.9),), (LEFT,)),
        Grounded(0, "clean", "classes", (), ()),
    ]
    answers = Answers(ANSWERS, [question, absent], [(-0.1, -3.0), (-3.0, -0.1)], forced)
    report(answers, UNCALIBRATED, tmp_path, tmp_path)
    draw_boxes(answers.grounded, UNCALIBRATED, tmp_path / "boxes.png")
    table = (tmp_path / "confidence.md").read_text()
    assert table == as_text(evaluate(answers, UNCALIBRATED))
    assert table.count("\n| ") == len(evaluate(answers, UNCALIBRATED)) + 1  # and one more heading
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "confidence.md",
        "confidence.json",
        "confidence-reliability.png",
        "boxes.png",
    }


def test_the_reliability_plot_accepts_few_boxes(tmp_path):
    box = RatedBox(0.5, 0.5, 1.0)
    draw_reliability({"clean": [box], "harder": [box]}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_measured_scenes_of_the_drawn_boxes_are_the_held_out_ones():
    """The pictures in the documentation show scenes that nothing was chosen on."""
    assert measured_scene("held out", 0).scene != measured_scene("calibration", 0).scene

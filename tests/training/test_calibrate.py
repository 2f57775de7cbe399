"""A calibration is chosen from measurements, and the scenes it is measured on are its own."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.checkpoint.files import read_calibration
from app.grounding.boxes import GRID, box_to_patch_indices, patch_indices_to_box
from app.grounding.class_prompts import presence_token_ids
from app.grounding.localization import CellDistribution
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import EMBEDDED_CHECKPOINT
from training.answering import GeneratedBox
from training.calibrate import NUM_CLASSES, write
from training.calibration_choices import Measurements, calibrate, choose_full_overlap
from training.confidence_questions import ClassQuestion, Grounded, class_list, contrasting_classes
from training.detections import Detection, best_threshold, detect, f1_at
from training.fitting import logistic, monotone_curve
from training.harder_scenes import HARDER, OVERLAPS, SMALL_SIDES
from training.measured_scenes import CLEAN, KINDS, measured_scene
from training.world import overlap

YES, NO = (-0.1, -5.0), (-5.0, -0.1)
unit = st.floats(0, 1)


def box_at(box, certainty=1.0):
    """Return a generated box whose corners have a probability; the rest is far away."""
    pair = box_to_patch_indices(box)
    corners = (CellDistribution(np.array([cell]), np.array([certainty])) for cell in pair)
    return GeneratedBox(pair, certainty, *corners)


def exact(box):
    """Return the box that its two cells stand for."""
    return patch_indices_to_box(*box_to_patch_indices(box))


LEFT, RIGHT = exact((0.0, 0.0, 0.4, 0.9)), exact((0.6, 0.1, 0.95, 0.9))


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=40))
def test_a_fitted_curve_is_one_that_the_file_may_contain(tmp_path_factory, pairs):
    """The service must be able to read every result."""
    predicted, measured = zip(*pairs, strict=True)
    curve = monotone_curve(predicted, measured, [1.0] * len(pairs))
    directory = tmp_path_factory.mktemp("calibration")
    write(Calibration(is_measured=True, confidence_curve=curve), {}, 6, directory)
    assert read_calibration(directory).confidence_curve == curve


def test_a_fitted_curve_corrects_a_constant_error():
    predicted = [number / 100 for number in range(20, 80)]
    curve = monotone_curve(predicted, [x / 2 for x in predicted], [1.0] * 60)
    for value in (0.3, 0.5, 0.7):
        corrected = Calibration(confidence_curve=curve).corrected(value)
        assert corrected == pytest.approx(value / 2, abs=0.01)


def test_weights_count_as_repetitions():
    once = monotone_curve([0.2, 0.4, 0.4], [0.1, 0.2, 0.2], [1.0] * 3, num_knots=1)
    assert monotone_curve([0.2, 0.4], [0.1, 0.2], [1.0, 2.0], num_knots=1) == once


def test_the_logistic_function_finds_the_odds_that_generated_the_truths():
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000) * 3
    truths = rng.random(4000) < 1 / (1 + np.exp(-(0.7 * values - 1.0)))
    scale, bias = logistic(values.tolist(), truths.tolist())
    assert (scale, bias) == (pytest.approx(0.7, abs=0.06), pytest.approx(-1.0, abs=0.12))


def test_values_that_separate_perfectly_have_a_finite_scale():
    scale, bias = logistic([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    assert 0 < scale < 10
    assert bias == pytest.approx(0.0, abs=1e-6)


def test_a_second_box_on_the_same_object_is_wrong():
    question = ClassQuestion(0, "red circle", "present", (LEFT, RIGHT))
    boxes = [box_at(LEFT, 0.9), box_at(LEFT, 0.8), box_at(RIGHT, 0.7)]
    found = detect(question, YES, boxes, UNCALIBRATED)
    assert [one.is_right for one in found] == [True, False, True]
    confidences = [one.confidence for one in found]
    assert confidences == sorted(confidences, reverse=True)


def test_presence_scales_the_confidence_of_every_box():
    question = ClassQuestion(0, "red circle", "absent", ())
    [there], [not_there] = (detect(question, o, [box_at(LEFT)], UNCALIBRATED) for o in (YES, NO))
    assert not there.is_right
    presence = UNCALIBRATED.presence(*NO) / UNCALIBRATED.presence(*YES)
    assert not_there.confidence == pytest.approx(there.confidence * presence)


def test_the_best_threshold_lies_between_right_and_wrong_detections():
    detections = [Detection(0.9, True), Detection(0.6, True), Detection(0.2, False)]
    threshold = best_threshold(detections, 3)
    assert 0.2 < threshold.value <= 0.6
    assert threshold.f1 == f1_at(threshold.value, detections, 3) == pytest.approx(4 / 5)


def sample_measurements():
    """Return answers of a checkpoint that leans to yes, and whose second wording finds nothing."""
    rng = random.Random(0)
    grounded, questions, odds, boxes = [], [], [], []
    for scene in range(60):
        kind = CLEAN if scene % 3 else "small"
        certainty = rng.uniform(0.5, 1.0)
        fits = rng.random() < certainty
        answer = (box_at(LEFT, certainty),)
        grounded.append(Grounded(scene, kind, "phrases", answer, (LEFT if fits else RIGHT,)))
        is_there = rng.random() < 0.4
        log_yes, log_no = YES if is_there else (-1.0, -1.0)
        targets = (LEFT,) if is_there else ()
        questions.append(
            ClassQuestion(scene, "red circle", "present" if is_there else "absent", targets)
        )
        odds.append((log_yes + rng.gauss(0, 0.3), log_no))
        boxes.append((box_at(LEFT, 0.9),))
    blind = [(-1.0 + rng.gauss(0, 1), -1.0) for _ in odds]
    return Measurements(
        grounded,
        questions,
        {"Any {class}?": blind, "Is there a {class}?": odds},
        {"the {class}": [() for _ in boxes], "a {class}": boxes},
    )


def uncertain_box(cell, other, probability):
    """Return a generated box whose first corner may be in another cell."""
    last = 20 * GRID + 25
    first = CellDistribution(np.array([cell, other]), np.array([1 - probability, probability]))
    certain = CellDistribution(np.array([last]), np.array([1.0]))
    return GeneratedBox((cell, last), 1.0, first, certain)


def test_the_full_overlap_is_the_one_that_separates_right_boxes_from_wrong_ones():
    """Right boxes are uncertain between overlapping cells, wrong ones less so but far apart."""
    cell = 5 * GRID + 5
    right, wrong = uncertain_box(cell, cell + 6, 0.5), uncertain_box(cell, 19 * GRID + 24, 0.1)
    grounded = [
        Grounded(scene, kind, "phrases", (box,), (box.localize(UNCALIBRATED).box,) if fits else ())
        for scene, kind in enumerate((CLEAN, "small"))
        for box, fits in ((right, True), (wrong, False))
    ]
    calibration, report = choose_full_overlap(UNCALIBRATED, grounded)
    areas = report["mean_roc_auc"]
    assert areas["1"] == 0.0
    assert areas[f"{calibration.full_overlap:g}"] == 1.0


def test_the_full_overlap_stays_neutral_if_no_box_is_wrong():
    grounded = [
        Grounded(scene, kind, "phrases", (box_at(LEFT, 0.9),), (LEFT,))
        for scene, kind in enumerate((CLEAN, "small"))
    ]
    calibration, _ = choose_full_overlap(UNCALIBRATED, grounded)
    assert calibration == UNCALIBRATED


def test_the_better_question_and_wording_are_chosen_and_the_lean_is_removed(tmp_path):
    calibration, report = calibrate(sample_measurements())
    assert calibration.presence_question == "Is there a {class}?"
    assert calibration.class_phrase == "a {class}"
    assert calibration.presence(*YES) > 0.9
    assert calibration.presence(-1.0, -1.0) < 0.1  # equal odds mean that nothing is there
    assert 0 < calibration.default_threshold < 0.9
    write(calibration, report, 60, tmp_path)
    assert read_calibration(tmp_path) == calibration
    assert "measured" in json.loads((tmp_path / "grounding_calibration.json").read_text())


def test_the_embedded_checkpoint_has_a_calibration_that_its_tokenizer_fits():
    calibration = read_calibration(EMBEDDED_CHECKPOINT)
    assert calibration.is_measured
    assert 0 < calibration.default_threshold < 1
    presence_token_ids(Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT), calibration)


@pytest.mark.parametrize("kind", KINDS)
def test_measured_scenes_can_be_repeated_and_differ_between_purposes(kind):
    """Nothing may be chosen on held-out scenes."""
    first, again = (measured_scene("held out", 7, kind) for _ in range(2))
    assert first.scene == again.scene
    assert first.picture.tobytes() == again.picture.tobytes()
    assert measured_scene("calibration", 7, kind).scene != first.scene
    for number in range(20):
        scene = measured_scene("calibration", number, kind).scene
        assert scene.objects
        for x0, y0, x1, y1 in (thing.xyxy for thing in scene.objects):
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1


def test_harder_scenes_are_harder_in_the_stated_way():
    assert set(KINDS) == {CLEAN, *HARDER}
    for number in range(20):
        small = measured_scene("calibration", number, "small").scene
        for x0, _, x1, _ in (thing.xyxy for thing in small.objects):
            side = (x1 - x0) * small.width / max(small.width, small.height)
            assert SMALL_SIDES[0] <= side <= SMALL_SIDES[1] + 1e-9
        first, *others = measured_scene("calibration", number, "overlapping").scene.objects
        for place, thing in enumerate(others):
            shared = max(overlap(thing.xyxy, one.xyxy) for one in (first, *others[:place]))
            assert OVERLAPS[0] <= shared <= OVERLAPS[1]
        long = measured_scene("calibration", number, "odd aspect ratio").scene
        assert max(long.width, long.height) / min(long.width, long.height) > 1.9


def test_class_lists_have_every_class_of_the_scene_and_absent_ones():
    for number in range(20):
        measured = measured_scene("calibration", number)
        questions = class_list(number, measured, NUM_CLASSES)
        there = {q.name for q in questions if q.presence == "present"}
        assert there == {" ".join(kind) for kind in measured.scene.kinds}
        assert len({q.name for q in questions}) == len(questions) == NUM_CLASSES
        assert all(bool(q.targets) == (q.presence == "present") for q in questions)


def test_contrasting_classes_are_one_present_and_up_to_two_absent_ones():
    for number in range(20):
        measured = measured_scene("calibration", number)
        present, absent, *similar = contrasting_classes(number, measured)
        assert present.targets
        assert not absent.targets
        for question in similar:
            colour, shape = question.name.split()
            kinds = measured.scene.kinds
            assert (colour, shape) not in kinds
            assert any(colour == kind[0] or shape == kind[1] for kind in kinds)

"""`evaluate --write-calibration`: the service reads the file, and it fits better than before."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint.calibration import parse_calibration
from harness.run_files import answer_line, detect_answer, write_run
from kosmos2_client.cli import main
from kosmos2_client.evaluation.calibration_file import Calibrated
from kosmos2_client.evaluation.fitting import (
    compose_curves,
    evaluate_curve,
    logistic,
    monotone_curve,
    sigmoid,
)
from training import fitting as reference

NAME = "red circle"
NUM_PICTURES = 400


def write_files(
    folder: Path, *, is_calibrated: bool = False, num_pictures: int = NUM_PICTURES
) -> None:
    """Write a run whose presences and overlaps are too high, and the truth.

    A class is there with probability `sigmoid(log odds - 2)`; a box overlaps the object by the
    square of what the answer expects.
    """
    random_ = random.Random(5)
    lines, images, annotations = list[Any](), list[Any](), list[Any]()
    for number in range(num_pictures):
        path = f"{number}.jpg"
        presence = round(random_.uniform(0.02, 0.99), 4)
        expected = round(random_.uniform(0.5, 0.99), 4)
        box = (0.0, 0.0, 100.0, 100.0)
        answer = detect_answer(
            [(NAME, box, presence * expected)], [NAME], presence={NAME: presence}
        )
        answer["calibrated"] = is_calibrated
        lines.append(answer_line(path, answer))
        images.append({"id": number, "file_name": path, "width": 200, "height": 100})
        if random_.random() < sigmoid(math.log(presence / (1 - presence)) - 2):
            width = 100 * expected**2
            annotations.append({"image_id": number, "category_id": 1, "bbox": [0, 0, width, 100]})
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": NAME}],
    }
    write_run(folder / "run.jsonl", lines)
    (folder / "instances.json").write_text(json.dumps(truth))


def calibrate(folder: Path, *options: str) -> int:
    run, truth = str(folder / "run.jsonl"), str(folder / "instances.json")
    out = str(folder / "grounding_calibration.json")
    return main(["evaluate", run, "--truth", truth, "--write-calibration", out, *options])


def test_the_service_reads_the_file_and_it_corrects_the_answers(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert calibrate(tmp_path) == 0
    path = tmp_path / "grounding_calibration.json"
    content = json.loads(path.read_text())
    calibration = parse_calibration(path, content)
    assert calibration.presence_bias == pytest.approx(-2, abs=0.5)
    assert calibration.presence_scale == pytest.approx(1, abs=0.3)
    assert calibration.corrected(0.8) == pytest.approx(0.64, abs=0.03)
    before, after = content["measured"]["held_out"].values()
    assert after["presence_log_loss"] < before["presence_log_loss"]
    assert after["overlap_error"] < before["overlap_error"] / 3
    assert after["f1"] > before["f1"]


def test_a_calibration_that_lowers_f1_is_reported() -> None:
    """The user decides: the other measures may be better."""
    measures = {"presence_log_loss": 0.1, "overlap_error": 0.1, "f1": 0.8}
    better = Calibrated({}, measures, measures | {"f1": 0.9}).as_text()
    worse = Calibrated({}, measures, measures | {"f1": 0.7}).as_text()
    assert "lower than before" in worse
    assert "lower than before" not in better


def test_the_fit_is_put_on_top_of_the_calibration_of_the_service(tmp_path: Path) -> None:
    write_files(tmp_path, is_calibrated=True)
    base = {
        "default_threshold": 0.2,
        "cell_exponent": 0.4,
        "presence_scale": 2.0,
        "presence_bias": 0.5,
        "confidence_curve": [[0, 0], [0.5, 0.8], [1, 1]],
        "measured": {"command": "another"},
    }
    (tmp_path / "base.json").write_text(json.dumps(base))
    assert calibrate(tmp_path, "--base-calibration", str(tmp_path / "base.json")) == 0
    path = tmp_path / "grounding_calibration.json"
    calibration = parse_calibration(path, json.loads(path.read_text()))
    assert calibration.cell_exponent == 0.4
    assert calibration.presence_scale == pytest.approx(2, abs=0.6)
    # The base makes 0.8 of 0.5, which the fit corrects to its square.
    assert calibration.corrected(0.5) == pytest.approx(0.64, abs=0.03)


@pytest.mark.parametrize(
    ("is_calibrated", "num_pictures", "options", "message"),
    [
        (True, NUM_PICTURES, (), "name it with --base-calibration"),
        (False, NUM_PICTURES, ("--base-calibration", "missing.json"), "no calibration"),
        (False, 40, (), "calibration needs 30"),
    ],
)
def test_what_cannot_be_calibrated_is_reported(
    is_calibrated: bool,
    num_pictures: int,
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_files(tmp_path, is_calibrated=is_calibrated, num_pictures=num_pictures)
    assert calibrate(tmp_path, *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "grounding_calibration.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiles": 4}, "without tiles"),
        ({"confidence": 0.39}, "batch --confidence 0"),
    ],
)
def test_answers_that_hide_examples_are_rejected(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, num_pictures=1)
    path = tmp_path / "run.jsonl"
    line = json.loads(path.read_text())
    line["answer"] |= change
    write_run(path, [line])
    assert calibrate(tmp_path) == 1
    assert message in capsys.readouterr().err


shares = st.floats(0, 1)
measurements = st.lists(st.tuples(shares, shares), min_size=1, max_size=40)


@given(measurements, measurements)
def test_curves_and_their_compositions_are_valid(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
) -> None:
    inner, outer = (monotone_curve(*zip(*pairs, strict=True)) for pairs in (some, others))
    for curve in (inner, outer, compose_curves(outer, inner)):
        content = {"default_threshold": 0, "confidence_curve": [list(point) for point in curve]}
        parse_calibration(Path("c"), content)
    composed = compose_curves(outer, inner)
    for x, y in composed:
        assert y == pytest.approx(evaluate_curve(outer, evaluate_curve(inner, x)), abs=1e-4)


def test_the_logistic_fit_equals_that_of_the_trainer() -> None:
    """Two implementations of one method: this package has no numpy."""
    random_ = random.Random(1)
    values = [random_.gauss(0, 3) for _ in range(200)]
    truths = [random_.random() < sigmoid(0.7 * value - 1) for value in values]
    assert logistic(values, truths) == pytest.approx(reference.logistic(values, truths), abs=1e-5)

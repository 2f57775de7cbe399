"""`kosmos2-client evaluate`; tests/clients compares average precision with pycocotools."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.run_files import Box, answer_line, detect_answer, error_line, image, write_run
from kosmos2_client.cli import main
from kosmos2_client.evaluation.matching import Outcome, Overlaps
from kosmos2_client.evaluation.tally import Tally, best_quality
from kosmos2_client.evaluation.truth import TrueBox

CIRCLE: Box = (10.0, 20.0, 60.0, 70.0)
SQUARE: Box = (100.0, 0.0, 200.0, 100.0)
NAMES = ("blue square", "red circle")


def truth_of(
    pictures: Mapping[str, Sequence[tuple[str, Box]]], **size: int | None
) -> dict[str, Any]:
    """A COCO dataset of pictures of 200 × 100 pixels, with categories 1 and 2."""
    size = {"width": 200, "height": 100, **size}
    annotations = [
        {
            "image_id": number,
            "category_id": NAMES.index(name) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        for number, boxes in enumerate(pictures.values())
        for name, (x0, y0, x1, y1) in boxes
    ]
    return {
        "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(pictures)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)],
        "annotations": annotations,
    }


def evaluate(folder: Path, lines: Sequence[Any], truth: Any, *options: str) -> Any:
    """Run the command and return its JSON."""
    run = write_run(folder / "run.jsonl", lines)
    (folder / "instances.json").write_text(json.dumps(truth))
    out = folder / "evaluation.json"
    files = ["--truth", str(folder / "instances.json"), "--json", str(out)]
    assert main(["evaluate", str(run), *files, *options]) == 0
    return json.loads(out.read_text())


RUN = (
    answer_line("a.jpg", detect_answer([("red circle", CIRCLE, 0.9), ("red circle", SQUARE, 0.3)])),
    answer_line(
        "b.jpg", detect_answer([("red circle", CIRCLE, 0.6), ("blue square", SQUARE, 0.5)])
    ),
    error_line("c.jpg"),
)
TRUTH = truth_of(
    {
        "a.jpg": [("red circle", CIRCLE)],
        "b.jpg": [("red circle", CIRCLE), ("blue square", SQUARE)],
        "c.jpg": [("blue square", SQUARE)],
        "elsewhere.jpg": [("blue square", SQUARE)],
    }
)


def test_each_class_has_precision_recall_and_a_best_threshold(tmp_path: Path) -> None:
    """The threshold is between the last right prediction, 0.6, and the wrong one, 0.3."""
    found = evaluate(tmp_path, RUN, TRUTH)
    circle, square = found["classes"]["red circle"], found["classes"]["blue square"]
    assert circle["all_predictions"] == {"precision": 0.6667, "recall": 1, "f1": 0.8}
    assert circle["best"] == {"threshold": 0.45, "precision": 1, "recall": 1, "f1": 1}
    assert circle["average_precision_50"] == 1
    assert (square["objects"], square["best"]["recall"]) == (2, 0.5)


def test_held_out_needs_objects_in_both_halves(tmp_path: Path) -> None:
    """The pictures are in different halves. The threshold of `b.jpg`, 0.3, keeps the wrong box of
    `a.jpg`, and only `b.jpg` has a square.
    """
    found = evaluate(tmp_path, RUN[:2], TRUTH)
    circle, square = found["classes"]["red circle"], found["classes"]["blue square"]
    assert circle["held_out"] == {"precision": 0.6667, "recall": 1, "f1": 0.8}
    assert square["held_out"] is None


def test_a_picture_without_an_answer_counts_as_nothing_found(tmp_path: Path) -> None:
    found = evaluate(tmp_path, RUN, TRUTH)
    counts = ("pictures", "pictures_without_answer", "pictures_not_in_run")
    assert [found[name] for name in counts] == [3, 1, 1]


def test_thresholds_are_written_for_the_export(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    evaluate(tmp_path, RUN, TRUTH, "--write-thresholds", str(path))
    assert json.loads(path.read_text()) == {"blue square": 0.25, "red circle": 0.45}
    out = tmp_path / "coco.json"
    run = str(tmp_path / "run.jsonl")
    options = ["--format", "coco", "--out", str(out), "--thresholds", str(path)]
    assert main(["export", run, *options]) == 0
    assert [one["score"] for one in json.loads(out.read_text())["annotations"]] == [0.9, 0.6, 0.5]


@pytest.mark.parametrize(
    ("threshold", "options", "exit_code", "message"),
    [
        (0.0, (), 1, "no threshold for star: choose --confidence"),
        (0.0, ("--confidence", "0.4"), 0, "star: exported from a confidence of 0.4 on"),
        (0.01, (), 0, "star: exported from a confidence of 0.01 on"),
        (0.0, ("--classes", "red circle"), 0, "not exported: star"),
    ],
)
def test_a_class_without_labels_is_not_exported_at_confidence_0_unnoticed(
    threshold: float,
    options: tuple[str, ...],
    exit_code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [("red circle", CIRCLE, 0.9), ("star", SQUARE, 0.02)]
    answer = detect_answer(found, ["red circle", "star"], threshold=threshold)
    path = tmp_path / "thresholds.json"
    evaluation = evaluate(
        tmp_path, [answer_line("a.jpg", answer)], TRUTH, "--write-thresholds", str(path)
    )
    assert evaluation["classes_without_objects"] == ["star"]
    assert "Classes of the run without an object in the truth" in capsys.readouterr().out
    command = ["export", str(tmp_path / "run.jsonl"), "--format", "coco", "--thresholds", str(path)]
    assert main([*command, "--out", str(tmp_path / "coco.json"), *options]) == exit_code
    assert message in capsys.readouterr().err


def test_pictures_are_found_by_name_if_it_is_unique(tmp_path: Path) -> None:
    lines = [answer_line("train/2014/a.jpg", detect_answer([("red circle", CIRCLE, 0.9)]))]
    found = evaluate(tmp_path, lines, truth_of({"a.jpg": [("red circle", CIRCLE)]}))
    assert found["classes"]["red circle"]["best"]["f1"] == 1


def test_stored_truth_is_turned_upright(tmp_path: Path) -> None:
    """EXIF tag 6: the upright picture of 200 × 100 is stored as 100 × 200."""
    answer = detect_answer([("red circle", CIRCLE, 0.9)], picture=image(exif_orientation=6))
    stored = truth_of(
        {"a.jpg": [("red circle", (20.0, 140.0, 70.0, 190.0))]}, width=100, height=200
    )
    lines = [answer_line("a.jpg", answer)]
    found = evaluate(tmp_path, lines, stored, "--truth-orientation", "stored")
    assert found["classes"]["red circle"]["average_precision"] == 1


def test_a_truth_may_state_no_sizes(tmp_path: Path) -> None:
    truth = truth_of({"a.jpg": [("red circle", CIRCLE)]}, width=None, height=None)
    found = evaluate(tmp_path, RUN, truth)
    assert found["classes"]["red circle"]["average_precision"] == 1


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (truth_of({"a.jpg": []}, width=100, height=200), "try --truth-orientation stored"),
        (truth_of({"z.jpg": []}), "no pictures in common"),
        ({"images": []}, "not a COCO dataset: 'categories' is missing"),
        ([], "not a COCO dataset"),
        (TRUTH | {"categories": [*TRUTH["categories"], {"id": "c", "name": "c"}]}, "not a COCO"),
        (truth_of({"a.jpg": [("red circle", (5.0, 0.0, 1.0, 1.0))]}), "not a COCO dataset"),
    ],
)
def test_a_truth_that_does_not_fit_the_run_is_reported(
    truth: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run.jsonl", RUN)
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    arguments = ["evaluate", str(run), "--truth", str(tmp_path / "instances.json")]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_the_sheet_shows_the_worst_picture_first_and_escapes_names(tmp_path: Path) -> None:
    bad = detect_answer([("red circle", SQUARE, 0.9)])
    lines = [*RUN, answer_line("<b> & #.jpg", bad)]
    truth = truth_of(
        {
            "a.jpg": [("red circle", CIRCLE)],
            "b.jpg": [("red circle", CIRCLE), ("blue square", SQUARE)],
            "<b> & #.jpg": [("red circle", CIRCLE)],
        }
    )
    sheet = tmp_path / "sheets" / "worst.html"
    sheet.parent.mkdir()
    (tmp_path / "pictures").mkdir()
    evaluate(tmp_path, lines, truth, "--sheet", str(sheet), "--root", str(tmp_path / "pictures"))
    page = sheet.read_text()
    first, *_ = page.split("<figure>")[1:]
    assert 'src="../pictures/%3Cb%3E%20%26%20%23.jpg"' in first
    assert "&lt;b&gt; &amp; #.jpg: 0 right, 1 false, 1 missed" in first
    assert '<rect class="missed" x="10.00" y="20.00" width="50.00" height="50.00">' in first
    assert "b.jpg:" not in page.replace("&gt; &amp; #.jpg", "")
    assert "<script" not in page


def test_a_crowd_makes_predictions_inside_neither_right_nor_wrong() -> None:
    crowd = TrueBox("a", (0, 0, 100, 100), is_crowd=True)
    single = TrueBox("a", (0, 0, 10, 10))
    boxes = [(0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 30.0), (95.0, 95.0, 130.0, 130.0)]
    match = Overlaps(boxes, [crowd, single]).match(0.5)
    assert match.outcomes == [Outcome.RIGHT, Outcome.IGNORED, Outcome.WRONG]
    assert match.missed == []


def test_one_object_is_found_once() -> None:
    single = TrueBox("a", (0, 0, 10, 10))
    match = Overlaps([(0, 0, 10, 9), (0, 0, 10, 10)], [single]).match(0.5)
    assert match.outcomes == [Outcome.RIGHT, Outcome.WRONG]


def test_without_predictions_the_best_threshold_keeps_nothing() -> None:
    tally = Tally(wanted=[3, 0])
    assert (best_quality([tally]).threshold, best_quality([tally]).f1) == (1.0, 0.0)
    assert tally.average_precision(0) == 0
    assert Tally().average_precision(0) is None


def test_a_sheet_needs_the_folder_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a typing mistake gives a page without any picture."""
    run = write_run(tmp_path / "run.jsonl", RUN)
    (tmp_path / "instances.json").write_text(json.dumps(TRUTH))
    files = ["--truth", str(tmp_path / "instances.json"), "--sheet", str(tmp_path / "worst.html")]
    assert main(["evaluate", str(run), *files, "--root", str(tmp_path / "missing")]) == 1
    assert "missing: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "worst.html").exists()

"""The released `inference-sdk` and `supervision` work with this service, unmodified.

Each runs in an environment of its own, because `inference-sdk` needs an older `supervision`.
"""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.contract.examples import EXAMPLE_SCENE
from app.settings import EMBEDDED_CHECKPOINT
from harness import loopback
from harness.service import RunningService
from tests.clients.chat_clients import INFERENCE_SDK, KEY
from tests.clients.environments import install
from tests.clients.matrix import Matrix

SCRIPTS = Path(__file__).parent / "roboflow"
OTHER_SCENE = EMBEDDED_CHECKPOINT / "scenes" / "blue_square_and_yellow_star.png"
CLIENT = ("inference-sdk", INFERENCE_SDK.partition("==")[2])
CALL = "infer_from_yolo_world"


@pytest.fixture(scope="module")
def answers(guarded: RunningService) -> Any:
    """The output of `infer.py`."""
    run = install(SCRIPTS, INFERENCE_SDK)
    return run("infer.py", guarded.url, KEY, str(EXAMPLE_SCENE), str(OTHER_SCENE))


def detect_directly(service: RunningService, picture: Path, classes: str) -> list[dict[str, Any]]:
    response = loopback.post(
        f"{service.url}/v1/detect",
        files={"image": picture.read_bytes()},
        data={"classes": classes, "confidence": "0.3"},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def test_the_sdk_reads_the_answers_of_paths_objects_and_lists(answers: Any) -> None:
    """It always returns a list; it sends a picture object as a JPEG file of its own."""
    path, picture = answers["results"]["path"], answers["results"]["object"]
    assert [len(answer["predictions"]) for answer in path] == [3]
    assert [one["class"] for one in picture[0]["predictions"]] == [
        one["class"] for one in path[0]["predictions"]
    ]
    both = answers["results"]["list"]
    for one, other in zip(both[0]["predictions"], path[0]["predictions"], strict=True):
        assert one["xyxy"] == pytest.approx(other["xyxy"], abs=0.01)
    assert {one["class"] for one in both[1]["predictions"]} == {"blue square"}


def test_the_sdk_shows_the_message_of_an_error(answers: Any, matrix: Matrix) -> None:
    status, message = answers["errors"]["wrong key"]
    assert (status, "Authorization: Bearer" in message) == (401, True)
    status, message = answers["errors"]["duplicate"]
    assert (status, message) == (422, "text[1]: occurs twice")
    matrix.add(*CLIENT, f"refused {CALL}", "message of 401, 422")


def test_supervision_reads_boxes_confidences_and_classes(
    answers: Any, guarded: RunningService, matrix: Matrix
) -> None:
    ours = detect_directly(guarded, EXAMPLE_SCENE, "red circle,blue square,green star")
    theirs = answers["detections"]
    assert theirs["class_name"] == [one["class"] for one in ours]
    assert theirs["class_id"] == [one["class_id"] for one in ours]
    assert theirs["confidence"] == pytest.approx([one["confidence"] for one in ours], abs=1e-4)
    for box, one in zip(theirs["xyxy"], ours, strict=True):
        assert box == pytest.approx(one["xyxy"], abs=0.01)
    assert answers["is_drawn"]
    matrix.add(*CLIENT, CALL, "boxes, scores, classes")


def test_the_slicer_finds_objects_that_are_small_in_the_picture(
    guarded: RunningService, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    picture = Image.new("RGB", (740, 520), "white")
    # No slice cuts the square here. The slicer keeps the surest of overlapping boxes, and that of a
    # cut object may be surer than that of the whole one.
    picture.paste(Image.open(EXAMPLE_SCENE), (440, 180))
    picture.save(large)
    run = install(SCRIPTS, "supervision==0.31.2", "requests==2.34.2")
    found = run("slice.py", guarded.url, KEY, str(large))
    expected = (440 + 114, 180 + 68, 440 + 180, 180 + 134)
    assert any(box == pytest.approx(expected, abs=12) for box in found["xyxy"])

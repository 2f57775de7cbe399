"""`POST /v1/detect`: class names in, boxes with a confidence out."""

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from app.checkpoint.files import DEMO_NOTICE, read_calibration
from app.contract.examples import EXAMPLE_SCENE
from app.detect.requests import MAX_CLASSES, MAX_ROWS, TOO_MANY_ROWS
from app.grounding.class_prompts import insert_class
from app.settings import EMBEDDED_CHECKPOINT
from harness.events import read_events
from harness.pictures import picture_file
from harness.problems import problem
from harness.service import RunningService
from harness.waiting import eventually

SCENE = EXAMPLE_SCENE.read_bytes()
SIZE = (300, 200)
RED, BLUE, GREEN = "red circle", "blue square", "green star"
TRUE_BOXES = {RED: 2, BLUE: 1, GREEN: 0}
"""Number of objects of each class in the scene."""


def detect(client: httpx.Client, image: bytes = SCENE, **fields: Any) -> httpx.Response:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in fields.items()}
    return client.post("/v1/detect", files={"image": image}, data=texts)


def found(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = detect(client, **fields)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def without_ids(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "detection_id"} for one in predictions]


def test_every_object_of_each_class_is_found(client: httpx.Client) -> None:
    content = found(client, classes=[GREEN, RED, BLUE], confidence="0.5")
    names = [one["class"] for one in content["predictions"]]
    assert {name: names.count(name) for name in TRUE_BOXES} == TRUE_BOXES
    confidences = [one["confidence"] for one in content["predictions"]]
    assert confidences == sorted(confidences, reverse=True)
    assert [one["class"] for one in content["classes"]] == [GREEN, RED, BLUE]
    assert [one["presence"] > 0.5 for one in content["classes"]] == [False, True, True]
    assert content["image"] == {"width": 300, "height": 200, "exif_orientation": 1}
    assert content["inference_id"] == content["id"]
    assert content["notice"] == DEMO_NOTICE


def test_the_forms_of_a_box_agree(client: httpx.Client) -> None:
    for one in found(client, classes=f"{RED}, {BLUE}")["predictions"]:
        x0, y0, x1, y1 = one["xyxy"]
        assert (one["x"], one["y"]) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=1e-3)
        assert (one["width"], one["height"]) == pytest.approx((x1 - x0, y1 - y0), abs=1e-3)
        scaled = [edge * side for edge, side in zip(one["xyxy_normalized"], SIZE * 2, strict=True)]
        assert scaled == pytest.approx(one["xyxy"], abs=1e-3)
        assert one["confidence"] == pytest.approx(one["presence"] * one["expected_iou"], abs=1e-4)
        assert [RED, BLUE][one["class_id"]] == one["class"]


def test_boxes_equal_those_of_phrase_grounding(client: httpx.Client) -> None:
    """The same phrase on the same prefix, so the same refined boxes."""
    content = found(client, classes=[BLUE], confidence="0")
    phrase = insert_class(read_calibration(EMBEDDED_CHECKPOINT).class_phrase, BLUE)
    fields = {"task": "phrase_grounding", "text": phrase}
    answer = client.post("/v1/ground", files={"image": SCENE}, data=fields).json()
    [box] = answer["entities"][0]["boxes"]
    [one] = content["predictions"]
    assert one["xyxy"] == pytest.approx(box["xyxy_refined"], abs=0.01)
    assert one["expected_iou"] == pytest.approx(box["confidence"], abs=1e-4)


def test_an_absent_class_costs_no_box_tokens(client: httpx.Client) -> None:
    """Its presence is below the threshold, so no box could reach the threshold."""
    content = found(client, classes=[GREEN], confidence="0.5")
    assert content["predictions"] == []
    assert content["usage"]["completion_tokens"] == 1


def test_a_class_ends_after_its_object_list(client: httpx.Client) -> None:
    """One token for presence; then `<object>`, two corners and `</object>`."""
    assert found(client, classes=[BLUE])["usage"]["completion_tokens"] == 1 + 4


def test_the_caller_gets_back_its_own_names(client: httpx.Client) -> None:
    names = ["The Red Circle", "  blue square "]
    content = client.post(
        "/v1/detect",
        json={
            "image": {"base64": base64.b64encode(SCENE).decode()},
            "classes": names,
            "confidence": 0.3,
        },
    ).json()
    assert {one["class"] for one in content["predictions"]} == set(names)


def test_a_threshold_and_a_number_limit_the_predictions(client: httpx.Client) -> None:
    everything = found(client, classes=[RED, BLUE], confidence="0")["predictions"]
    least = everything[1]["confidence"] - 0.001  # answers are rounded
    above = found(client, classes=[RED, BLUE], confidence=str(least))["predictions"]
    assert without_ids(above) == without_ids(everything[:2])
    one_each = found(client, classes=[RED, BLUE], max_per_class="1")["predictions"]
    assert sorted(one["class"] for one in one_each) == [BLUE, RED]


def test_boxes_of_different_classes_suppress_each_other_on_request(client: httpx.Client) -> None:
    """`square` and `blue square` are the same object."""
    classes = ["square", BLUE]
    assert len(found(client, classes=classes, confidence="0.3")["predictions"]) == 2
    nms = {"class_agnostic": True}
    agnostic = found(client, classes=classes, confidence="0.3", nms=nms)
    assert len(agnostic["predictions"]) == 1


@pytest.mark.parametrize("nms", [{}, {"class_agnostic": True}])
def test_a_stream_has_the_classes_of_the_whole_answer(
    client: httpx.Client, nms: dict[str, Any]
) -> None:
    fields = {"classes": [RED, GREEN, BLUE], "confidence": "0.3", "nms": nms}
    whole = found(client, **fields)
    *classes, done = read_events(detect(client, stream="true", **fields).text.splitlines())
    assert [event.name for event in (*classes, done)] == ["class"] * 3 + ["done"]
    assert sorted(event.data["class_id"] for event in classes) == [0, 1, 2]
    streamed = [one for event in classes for one in event.data["predictions"]]
    assert sorted(streamed, key=str) == sorted(done.data["predictions"], key=str)
    assert without_ids(done.data["predictions"]) == without_ids(whole["predictions"])


def test_each_view_crosses_once_and_is_encoded_once(
    client: httpx.Client, service: RunningService
) -> None:
    """Twelve classes share the pass of the whole picture, and that of each tile."""
    shapes = ("circle", "square", "star", "heart")
    classes = [f"{colour} {shape}" for colour in ("red", "blue", "green") for shape in shapes]
    counters = {
        "kosmos2_pictures_encoded_total": 3,
        "kosmos2_picture_bytes_received_total": 3 * 224 * 224 * 3,
    }
    # The engine counts a step after it has sent the step's tokens.
    assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 0)
    before = {name: service.metric(name) for name in counters}
    tiles = {"width": 200, "height": 200, "overlap": 0.25}
    content = found(client, image=picture_file((330, 200)), classes=classes, tiles=tiles)
    assert content["tiles"] == 2
    assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 0)
    assert {name: service.metric(name) - before[name] for name in counters} == counters


def test_a_detection_occupies_half_of_the_slots(
    client: httpx.Client, service: RunningService
) -> None:
    """The other half remains for short requests."""
    series = [f'kosmos2_engine_batch_size_bucket{{le="{size}.0"}}' for size in (8, 16, 128)]
    assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 0)
    before = [service.metric(name) for name in series]
    found(client, classes=[f"{RED} {number}" for number in range(60)], confidence="0")
    assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 0)
    small, half, all_passes = (
        service.metric(name) - n for name, n in zip(series, before, strict=True)
    )
    assert small < half == all_passes


def test_tiles_find_what_is_small_in_the_picture(client: httpx.Client) -> None:
    """The scene is pasted into a picture of 1100 × 900 pixels."""
    large = Image.new("RGB", (1100, 900), "white")
    large.paste(Image.open(io.BytesIO(SCENE)), (750, 650))
    file = io.BytesIO()
    large.save(file, "PNG")
    content = found(client, image=file.getvalue(), classes=[BLUE], confidence="0.3", tiles="auto")
    assert content["tiles"] > 0
    [best, *_] = content["predictions"]
    expected = (750 + 114, 650 + 68, 750 + 180, 650 + 134)
    assert best["xyxy"] == pytest.approx(expected, abs=12)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"classes": []}, "classes"),
        ({"classes": [RED, RED]}, "classes[1]"),
        ({"classes": [RED, " "]}, "classes[1]"),
        ({"classes": ["<object>"]}, "classes[0]"),
        ({"classes": ["x" * 201]}, "classes[0]"),
        ({"classes": ["🙂" * 200]}, "classes[0]"),
        ({"classes": [f"class {n}" for n in range(MAX_CLASSES + 1)]}, "classes"),
        ({"classes": [RED], "confidence": "1.5"}, "confidence"),
        ({"classes": [RED], "max_per_class": "0"}, "max_per_class"),
        ({"classes": [RED], "nms": {"iou": 2}}, "nms.iou"),
        ({"classes": [RED], "nms": "7"}, "nms"),
        ({"classes": [RED], "tiles": "some"}, "tiles"),
        ({"classes": [RED], "tiles": {"width": 8, "height": 64}}, "tiles.width"),
        ({"classes": [RED], "tiles": {"width": 64}}, "tiles.height"),
        ({"classes": [RED], "priority": "urgent"}, "priority"),
        ({"classes": [RED], "text": "a"}, "text"),
    ],
)
def test_a_wrong_field_is_reported_by_its_path(
    client: httpx.Client, fields: dict[str, Any], field: str
) -> None:
    content = problem(detect(client, **fields))
    assert content["status"] == 422
    assert content["errors"][0]["field"] == field


def test_too_many_rows_are_refused_with_their_number(client: httpx.Client) -> None:
    classes = [f"class {number}" for number in range(MAX_CLASSES)]
    content = problem(detect(client, classes=classes, tiles={"width": 64, "height": 64}))
    assert (content["status"], content["errors"][0]["field"]) == (422, "tiles")
    assert f"the limit is {MAX_ROWS}" in content["detail"]
    assert content["code"] == TOO_MANY_ROWS

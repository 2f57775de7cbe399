"""The released `moondream` works with this service, unmodified."""

from typing import Any

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness import loopback
from harness.service import RunningService
from tests.clients.chat_clients import KEY, MOONDREAM
from tests.clients.matrix import Matrix
from tests.clients.test_chat_clients import ask_directly

QUESTION = "What color is the square?"
SIDES = ("x_min", "y_min", "x_max", "y_max")


@pytest.fixture(scope="module")
def answers(guarded: RunningService) -> Any:
    """The output of the script: every call of the client."""
    return MOONDREAM.run("answers", guarded.url)


@pytest.fixture
def add(matrix: Matrix) -> Any:
    return lambda call, asserted, **options: matrix.add(
        MOONDREAM.name, MOONDREAM.version, call, asserted, **options
    )


@pytest.fixture(scope="module")
def found(guarded: RunningService) -> list[dict[str, Any]]:
    """The predictions of a direct detection."""
    response = loopback.post(
        f"{guarded.url}/v1/detect",
        files={"image": EXAMPLE_SCENE.read_bytes()},
        data={"classes": "red circle"},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def test_captions_and_answers_are_those_of_a_direct_request(
    guarded: RunningService, answers: Any, add: Any
) -> None:
    caption = ask_directly(guarded.url, task="brief_caption")["answer"]
    answer = ask_directly(guarded.url, task="grounded_vqa", text=QUESTION)["answer"]
    assert (answers["caption"], answers["query"]) == (caption, answer)
    assert "".join(answers["streamed caption"]) == caption
    assert "".join(answers["streamed query"]) == answer
    assert len(answers["streamed caption"]) > 5
    for call in ("caption", "query"):
        add(call, "text")
        add(call, "text", streamed=True)


def test_boxes_keep_their_scores(answers: Any, found: list[dict[str, Any]], add: Any) -> None:
    """The client encodes the picture as JPEG, so that the numbers differ a little."""
    objects = answers["detect"]
    assert len(objects) == len(found) == 2
    for theirs, ours in zip(objects, found, strict=True):
        assert [theirs[side] for side in SIDES] == pytest.approx(ours["xyxy_normalized"], abs=0.02)
        assert theirs["confidence"] == pytest.approx(ours["confidence"], abs=0.05)
        assert theirs["label"] == "red circle"
    add("detect", "boxes, scores")


def test_points_are_the_centres_of_the_boxes(answers: Any, add: Any) -> None:
    for point, box in zip(answers["point"], answers["detect"], strict=True):
        centre = ((box["x_min"] + box["x_max"]) / 2, (box["y_min"] + box["y_max"]) / 2)
        assert (point["x"], point["y"]) == pytest.approx(centre, abs=1e-4)
        assert point["confidence"] == box["confidence"]
    add("point", "points, scores")


def test_a_refusal_has_a_status_and_a_message(answers: Any, add: Any) -> None:
    """The client raises the error of Python's library, whose body the user reads."""
    status, message = answers["errors"]["key"]
    assert (status, "X-Moondream-Auth" in message or "Authorization" in message) == (401, True)
    status, message = answers["errors"]["length"]
    assert (status, message.startswith("length: ")) == (422, True)
    status, message = answers["errors"]["spatial_refs"]
    assert (status, "are not supported" in message) == (422, True)
    add("refused caption", "message of 401, 422")

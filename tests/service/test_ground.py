"""`POST /v1/ground` with a multipart form: requests and answers."""

import json
from typing import Any

import httpx
import pytest

from app.checkpoint.files import DEMO_NOTICE
from app.contract.examples import EXAMPLE_SCENE
from app.contract.response_models import AnswerBody, BoxBody
from app.grounding.tasks import TASKS
from app.settings import PUBLISHED_MODEL
from harness.pictures import picture_file

PICTURE = picture_file()
SIDES = (320, 240, 320, 240)
REGION = [{"boxes": [[40, 30, 160, 120]]}]
FIELDS: dict[str, dict[str, str]] = {
    "brief_caption": {},
    "detailed_caption": {},
    "phrase_grounding": {"text": "a red circle"},
    "referring_expression_comprehension": {"text": "the red circle on the left"},
    "referring_expression_generation": {"regions": json.dumps(REGION)},
    "grounded_vqa": {"text": "What color is the circle?"},
    "raw": {"text": "<grounding><phrase> a red circle</phrase>"},
}


def ask(client: httpx.Client, image: bytes = PICTURE, **fields: str) -> httpx.Response:
    return client.post("/v1/ground", files={"image": ("name", image)}, data=fields)


def answer(client: httpx.Client, image: bytes = PICTURE, **fields: str) -> dict[str, Any]:
    response = ask(client, image, **fields)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def test_every_task_has_fields_here() -> None:
    assert FIELDS.keys() == TASKS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_to_every_task_keeps_the_contract(client: httpx.Client, task: str) -> None:
    """The parts of the answer are also consistent with each other."""
    content = answer(client, task=task, **FIELDS[task])
    body = AnswerBody.model_validate(content, strict=True)
    assert content.keys() == AnswerBody.model_fields.keys()
    assert body.task == task
    assert body.model == "kosmos2-shapes-demo"
    assert body.answer == body.text[body.answer_start :]
    assert body.seed is None
    assert body.usage.prompt_tokens > 67
    assert 1 <= body.usage.completion_tokens <= 128
    for entity in body.entities:
        assert body.text[slice(*entity.span)] == (entity.phrase or "")
        for box in entity.boxes:
            assert (box.score is None) == entity.from_prompt
            assert box.score is None or 0 <= box.score <= 1
            x0, y0, x1, y1 = box.xyxy_normalized
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            if box.xyxy_refined is None:
                assert entity.from_prompt
                assert box.xyxy_refined_normalized is box.confidence is None
            else:
                assert is_near(box)
            assert box.xyxy == [x0 * 320, y0 * 240, x1 * 320, y1 * 240]


def is_near(box: BoxBody) -> bool:
    """Return whether the refined box is within 2.5 cells of the coarse one, with a confidence."""
    assert box.xyxy_refined is not None
    assert box.xyxy_refined_normalized is not None
    assert box.confidence is not None
    distances = [
        abs(fine - coarse)
        for fine, coarse in zip(box.xyxy_refined_normalized, box.xyxy_normalized, strict=True)
    ]
    scaled = [edge * side for edge, side in zip(box.xyxy_refined_normalized, SIDES, strict=True)]
    assert box.xyxy_refined == pytest.approx(scaled, abs=1e-3)
    return max(distances) <= 2.5 / 32 and 0 < box.confidence <= 1


def test_a_clear_object_has_a_refined_box_and_a_high_confidence(client: httpx.Client) -> None:
    """The scene is one of those that the embedded checkpoint is trained on."""
    scene = EXAMPLE_SCENE.read_bytes()
    content = answer(client, scene, task="phrase_grounding", text="a blue square")
    assert content["calibrated"] is True
    [box] = content["entities"][0]["boxes"]
    assert box["confidence"] > 0.7
    assert box["xyxy_refined"] != box["xyxy"]


def test_answers_of_the_embedded_checkpoint_have_a_notice(client: httpx.Client) -> None:
    """A user who sends a photo must learn that this model only knows drawn shapes."""
    content = answer(client, task="brief_caption", max_new_tokens="1")
    assert content["notice"] == DEMO_NOTICE
    assert f"make run MODEL={PUBLISHED_MODEL}" in DEMO_NOTICE


def test_sent_boxes_are_returned_as_boxes_from_the_prompt(client: httpx.Client) -> None:
    """They are aligned to the grid of the answer and have no score."""
    content = answer(client, task="referring_expression_generation", regions=json.dumps(REGION))
    first = content["entities"][0]
    assert first["phrase"] == "It"
    assert first["from_prompt"] is True
    for name in ("score", "xyxy_refined", "xyxy_refined_normalized", "confidence"):
        assert first["boxes"][0][name] is None
    assert first["boxes"][0]["patch_indices"] == [132, 495]
    assert content["markup"].startswith(
        "<grounding><phrase> It</phrase><object><patch_index_0132><patch_index_0495></object> is"
    )


def test_a_generated_box_of_a_sent_phrase_is_not_from_the_prompt(client: httpx.Client) -> None:
    """`from_prompt` describes boxes, not phrases."""
    content = answer(client, task="phrase_grounding", text="a red circle")
    assert content["entities"][0]["phrase"] == "a red circle"
    assert content["entities"][0]["from_prompt"] is False


def test_a_region_is_inserted_into_the_question(client: httpx.Client) -> None:
    regions = [{"phrase": "the circle", "boxes": [[0.1, 0.1, 0.5, 0.5]]}]
    content = answer(
        client,
        task="grounded_vqa",
        text="What color is the circle?",
        regions=json.dumps(regions),
        box_format="normalized",
    )
    assert content["markup"].startswith(
        "<grounding> Question: What color is<phrase> the circle</phrase><object>"
    )


def test_without_grounding_there_are_no_boxes(client: httpx.Client) -> None:
    content = answer(client, task="brief_caption", grounding="false")
    assert content["entities"] == []
    assert content["markup"].lstrip().startswith("An image of")


def test_the_limit_of_new_tokens_ends_an_answer(client: httpx.Client) -> None:
    content = answer(client, task="detailed_caption", max_new_tokens="2")
    assert content["finish_reason"] == "length"
    assert content["usage"]["completion_tokens"] == 2


def test_a_sampled_answer_can_be_repeated_with_its_seed(client: httpx.Client) -> None:
    """Also from JavaScript, which reads every number as a float."""
    first = answer(client, task="detailed_caption", temperature="1.5")
    assert first["seed"] < 2**53
    again = answer(client, task="detailed_caption", temperature="1.5", seed=str(first["seed"]))
    assert again["markup"] == first["markup"]
    assert again["seed"] == first["seed"]


def test_a_second_question_about_a_picture_reuses_its_prefix(client: httpx.Client) -> None:
    picture = picture_file(color="olive")
    assert answer(client, picture, task="brief_caption")["usage"]["cached_tokens"] == 0
    assert answer(client, picture, task="detailed_caption")["usage"]["cached_tokens"] == 67


def test_boxes_refer_to_the_upright_picture(client: httpx.Client) -> None:
    """Phones store portrait pictures rotated, with an orientation tag."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(PICTURE))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    content = answer(client, file.getvalue(), task="brief_caption")
    assert content["image"] == {"width": 240, "height": 320, "exif_orientation": 6}


def test_an_empty_field_counts_as_not_sent(client: httpx.Client) -> None:
    assert answer(client, task="brief_caption", text="", regions="", seed="")["entities"] != []


def test_defaults_may_be_sent(client: httpx.Client) -> None:
    """Generated clients send all of them."""
    sent = {"box_format": "pixel", "grounding": "true", "max_new_tokens": "128", "top_p": "1"}
    assert answer(client, task="brief_caption", **sent)["entities"] != []


def test_the_declared_type_of_a_picture_is_ignored(client: httpx.Client) -> None:
    """The bytes of a picture decide its format."""
    response = client.post(
        "/v1/ground",
        files={"image": ("malware.exe", PICTURE, "text/plain")},
        data={"task": "brief_caption"},
    )
    assert response.status_code == 200


def test_an_answer_has_the_request_id_that_the_client_sent(client: httpx.Client) -> None:
    response = client.post(
        "/v1/ground",
        files={"image": PICTURE},
        data={"task": "brief_caption"},
        headers={"X-Request-ID": "trace-1.A_b"},
    )
    assert response.headers["X-Request-ID"] == response.json()["id"] == "trace-1.A_b"


@pytest.mark.parametrize("requested", ["", "a b", "x" * 129, "ä".encode()])
def test_an_invalid_request_id_is_replaced(client: httpx.Client, requested: Any) -> None:
    response = client.get("/livez", headers={"X-Request-ID": requested})
    assert response.headers["X-Request-ID"] != requested
    assert len(response.headers["X-Request-ID"]) == 32

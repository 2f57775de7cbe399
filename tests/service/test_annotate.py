"""`POST /v1/annotate` returns the picture with boxes and phrases drawn on it."""

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.contract.response_models import AnswerBody
from harness.pictures import picture_file
from harness.problems import problem
from harness.service import RunningService

PICTURE = picture_file((400, 300))
ENTITIES = json.dumps([{"phrase": "a disc", "boxes": [{"xyxy": [50, 40, 200, 150], "score": 0.5}]}])


def annotate(
    client: httpx.Client, accept: str | None = None, image: bytes = PICTURE, **fields: str
) -> httpx.Response:
    headers = {} if accept is None else {"Accept": accept}
    return client.post("/v1/annotate", files={"image": image}, data=fields, headers=headers)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("accept", "media_type", "kind"),
    [
        (None, "image/png", "PNG"),
        ("image/*", "image/png", "PNG"),
        ("image/jpeg", "image/jpeg", "JPEG"),
        ("image/webp;q=0.9, image/png;q=0.1", "image/webp", "WEBP"),
    ],
)
def test_the_picture_has_the_format_that_accept_prefers(
    client: httpx.Client, accept: str | None, media_type: str, kind: str
) -> None:
    response = annotate(client, accept, task="brief_caption")
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.size) == (kind, (400, 300))
    assert (pixels(response.content) != pixels(PICTURE)).any()


def test_an_unsupported_format_is_not_acceptable(client: httpx.Client) -> None:
    content = problem(annotate(client, "image/avif", task="brief_caption"))
    assert (content["status"], content["code"]) == (406, "not_acceptable")


def test_json_has_both_the_answer_and_the_picture(client: httpx.Client) -> None:
    content: dict[str, Any] = annotate(client, "application/json", task="brief_caption").json()
    annotated = content.pop("annotated")
    AnswerBody.model_validate(content, strict=True)
    assert annotated["media_type"] == "image/png"
    assert pixels(base64.b64decode(annotated["base64"])).shape == (300, 400, 3)


def test_sent_entities_are_drawn_without_running_the_model(
    client: httpx.Client, service: RunningService
) -> None:
    """The edges of the box change, the pixels inside it do not."""
    before = service.metric("kosmos2_generation_tokens_total")
    drawn = pixels(annotate(client, entities=ENTITIES).content)
    changed = np.argwhere((drawn != pixels(PICTURE)).any(axis=-1))
    assert service.metric("kosmos2_generation_tokens_total") == before
    assert (abs(changed[:, 0] - 40) <= 4).any()
    assert (abs(changed[:, 1] - 200) <= 4).any()
    assert (drawn[90:100, 120:130] == pixels(PICTURE)[90:100, 120:130]).all()


def test_entities_of_an_answer_can_be_sent_unchanged(client: httpx.Client) -> None:
    answer = annotate(client, "application/json", task="brief_caption").json()
    again = annotate(client, entities=json.dumps(answer["entities"]))
    assert (pixels(again.content) == pixels(base64.b64decode(answer["annotated"]["base64"]))).all()


def test_refined_boxes_are_drawn_unless_coarse_ones_are_requested(client: httpx.Client) -> None:
    """The same holds for the entities of an answer that are sent back."""
    drawn = {}
    for boxes in ("refined", "coarse"):
        fields = {"task": "phrase_grounding", "text": "a red circle", "boxes": boxes}
        answer = annotate(client, "application/json", **fields).json()
        drawn[boxes] = pixels(base64.b64decode(answer["annotated"]["base64"]))
        again = annotate(client, entities=json.dumps(answer["entities"]), boxes=boxes)
        assert (pixels(again.content) == drawn[boxes]).all()
    assert (drawn["refined"] != drawn["coarse"]).any()


def test_scores_are_optional(client: httpx.Client) -> None:
    with_scores = annotate(client, entities=ENTITIES).content
    without = annotate(client, entities=ENTITIES, show_scores="false").content
    assert (pixels(with_scores) != pixels(without)).any()


def test_normalized_and_pixel_boxes_are_drawn_alike(client: httpx.Client) -> None:
    boxes = [{"xyxy": [50 / 400, 40 / 300, 200 / 400, 150 / 300], "score": 0.5}]
    normalised = json.dumps([{"phrase": "a disc", "boxes": boxes}])
    in_parts = annotate(client, entities=normalised, box_format="normalized").content
    assert (pixels(in_parts) == pixels(annotate(client, entities=ENTITIES).content)).all()


def test_the_annotated_picture_has_no_metadata(client: httpx.Client) -> None:
    """Metadata can reveal where a picture was taken."""
    exif = Image.Exif()
    exif[0x010E] = "a planted marker"
    file = io.BytesIO()
    Image.open(io.BytesIO(PICTURE)).save(file, "JPEG", exif=exif, comment=b"a planted marker")
    for accept in ("image/png", "image/jpeg", "image/webp"):
        content = annotate(client, accept, file.getvalue(), entities=ENTITIES).content
        assert b"planted" not in content
        assert not Image.open(io.BytesIO(content)).getexif()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "task"),
        ({"task": "brief_caption", "entities": ENTITIES}, "task"),
        ({"entities": ENTITIES, "text": "a cat"}, "text"),
        ({"task": "brief_caption", "stream": "true"}, "stream"),
        ({"task": "brief_caption", "boxes": "fine"}, "boxes"),
        ({"entities": "[{}]"}, "entities[0].boxes"),
        ({"entities": '[{"boxes": [{"xyxy": [1, 2, 3]}]}]'}, "entities[0].boxes[0].xyxy"),
        ({"entities": '[{"boxes": [{"xyxy": [1, 2, 3, NaN]}]}]'}, "entities[0].boxes[0].xyxy[3]"),
    ],
)
def test_each_wrong_field_is_reported(
    client: httpx.Client, fields: dict[str, str], wrong: str
) -> None:
    content = problem(annotate(client, **fields))
    assert content["code"] == "invalid_request"
    assert wrong in {error["field"] for error in content["errors"]}


def test_a_label_shows_a_phrase_with_a_bracket(client: httpx.Client) -> None:
    """The drawn answer equals the drawing of its phrase as the user wrote it."""
    text = "the I <3 NY shirt"
    content = annotate(client, "application/json", task="phrase_grounding", text=text).json()
    assert [entity["phrase"] for entity in content["entities"]] == [text]
    entities = json.dumps(content["entities"])
    drawn = annotate(client, entities=entities).content
    assert (pixels(base64.b64decode(content["annotated"]["base64"])) == pixels(drawn)).all()
    unlabelled = json.dumps([{**entity, "phrase": None} for entity in content["entities"]])
    assert (pixels(annotate(client, entities=unlabelled).content) != pixels(drawn)).any()

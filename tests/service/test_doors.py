"""All doors of one running service: the same answers, limits and counts."""

import base64
from typing import Any

import httpx
import pytest

from app.contract.examples import EXAMPLE_SCENE
from app.http.routes.invocations import ATTRIBUTES
from harness.answers import are_same
from harness.service import RunningService
from harness.waiting import eventually

SCENE = EXAMPLE_SCENE.read_bytes()
URI = f"data:image/jpeg;base64,{base64.b64encode(SCENE).decode()}"
JPEG = {"Content-Type": "image/jpeg"}
CHAT = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": URI}]}]}


def form(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(path, files={"image": SCENE}, data=fields)


def test_a_bare_picture_gets_the_answer_of_a_form(client: httpx.Client) -> None:
    fields = {"task": "grounded_vqa", "text": "What color is the square?"}
    bare = client.post("/v1/ground", params=fields, content=SCENE, headers=JPEG)
    assert are_same(bare.json(), form(client, "/v1/ground", **fields).json())


def test_a_bare_picture_gets_the_objects_of_a_form(client: httpx.Client) -> None:
    fields = {"classes": "red circle,green star", "confidence": "0.3"}
    bare = client.post("/v1/detect", params=fields, content=SCENE, headers=JPEG).json()
    sent = form(client, "/v1/detect", **fields).json()
    assert [one["xyxy"] for one in bare["predictions"]] == [
        pytest.approx(one["xyxy"], abs=0.01) for one in sent["predictions"]
    ]
    assert len(bare["predictions"]) == 2


def test_a_bare_picture_is_annotated(client: httpx.Client) -> None:
    headers = JPEG | {"Accept": "image/png"}
    params = {"task": "brief_caption"}
    drawn = client.post("/v1/annotate", params=params, content=SCENE, headers=headers)
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/png")


def test_every_door_gives_the_caption(client: httpx.Client) -> None:
    ours = form(client, "/v1/ground", task="brief_caption").json()
    chat = client.post("/v1/chat/completions", json=CHAT).json()["choices"][0]["message"]
    assert chat["content"] == ours["answer"]
    for theirs, entity in zip(chat["grounding"]["entities"], ours["entities"], strict=True):
        assert [start + ours["answer_start"] for start in theirs["span"]] == entity["span"]
        assert are_same(theirs["boxes"], entity["boxes"])
    caption = client.post("/moondream/caption", json={"image_url": URI, "length": "short"}).json()
    assert caption["caption"] == chat["content"]
    assert are_same(caption["grounding"], chat["grounding"])
    invoked = client.post("/invocations", content=SCENE, headers=JPEG).json()
    assert are_same(invoked, ours)
    headers = JPEG | {ATTRIBUTES: "classes=red circle"}
    found = client.post("/invocations", content=SCENE, headers=headers).json()["predictions"]
    objects = client.post("/moondream/detect", json={"image_url": URI, "object": "red circle"})
    assert [one["confidence"] for one in objects.json()["objects"]] == [
        pytest.approx(one["confidence"], abs=1e-3) for one in found
    ]


def test_an_answer_longer_than_a_slot_is_shortened(client: httpx.Client) -> None:
    """Clients of other models send limits of thousands of tokens."""
    chat = client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 4096})
    assert chat.json()["choices"][0]["finish_reason"] == "stop"


def test_the_model_is_listed_and_ping_reports_readiness(client: httpx.Client) -> None:
    name = client.get("/version").json()["model"]["name"]
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [name]
    ping = client.get("/ping")
    assert (ping.status_code, ping.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/v1/chat/completions", lambda content: content["error"]["message"]),
        ("/moondream/caption", lambda content: content["detail"]),
        ("/invocations", lambda content: content["detail"]),
    ],
)
def test_errors_of_middleware_have_the_shape_of_the_door(
    client: httpx.Client, path: str, read: Any
) -> None:
    response = client.post(path, content=bytes(300_000), headers={"Content-Type": "image/png"})
    assert response.status_code == 413
    assert "200,000 bytes" in read(response.json())


def test_requests_are_counted_by_door(service: RunningService, client: httpx.Client) -> None:
    def counted(door: str) -> float:
        labels = f'{{door="{door}",outcome="completed",task="brief_caption"}}'
        return service.metric(f"kosmos2_requests_total{labels}")

    before = {door: counted(door) for door in ("openai", "moondream", "sagemaker")}
    client.post("/v1/chat/completions", json=CHAT)
    client.post("/moondream/caption", json={"image_url": URI, "length": "short"})
    client.post("/invocations", content=SCENE, headers=JPEG)
    assert eventually(lambda: all(counted(door) == n + 1 for door, n in before.items()))

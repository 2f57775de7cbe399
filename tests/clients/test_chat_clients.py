"""Released clients of OpenAI's protocol work with this service, unmodified."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness import loopback
from harness.answers import are_same
from harness.full_service import full
from harness.processes import FAULTY_ENGINE
from harness.service import RunningService, running_service
from harness.waiting import eventually
from tests.clients.chat_clients import (
    AI_SDK,
    CHAT_CLIENTS,
    HUB,
    KEY,
    LANGCHAIN,
    MOONDREAM,
    OPENAI,
    OPENAI_NODE,
    ForeignClient,
    result_of,
)
from tests.clients.matrix import Matrix

CALL = "chat"


@cache
def answers_of(client: ForeignClient, url: str) -> Any:
    """Return the results of a client; its script runs once."""
    return client.run("answers", url)


def ask_directly(url: str, **fields: str) -> Any:
    response = loopback.post(
        f"{url}/v1/ground",
        files={"image": EXAMPLE_SCENE.read_bytes()},
        data=fields,
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def caption(guarded: RunningService) -> Any:
    """The answer to a direct request."""
    return ask_directly(guarded.url, task="brief_caption")


def assert_grounding(grounding: Any, answer: Any) -> None:
    """Check that the boxes are those of a direct answer, and that spans index the content."""
    assert [len(entity["boxes"]) for entity in answer["entities"]] == [2, 1]
    start = answer["answer_start"]
    for theirs, ours in zip(grounding["entities"], answer["entities"], strict=True):
        assert theirs["phrase"] == ours["phrase"]
        assert [edge + start for edge in theirs["span"]] == ours["span"]
        assert are_same(theirs["boxes"], ours["boxes"])
    assert grounding["image"] == answer["image"]


@pytest.mark.parametrize("client", CHAT_CLIENTS, ids=lambda client: client.name)
def test_a_chat_returns_text_boxes_and_usage(
    guarded: RunningService, caption: Any, matrix: Matrix, client: ForeignClient
) -> None:
    whole = answers_of(client, guarded.url)["whole"]
    assert whole["text"] == caption["answer"]
    assert whole["usage"] == sum(
        caption["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )
    shown = ["text", "usage"]
    if "whole" in client.shows_boxes:
        assert_grounding(whole["grounding"], caption)
        shown.insert(1, "boxes, scores")
    matrix.add(client.name, client.version, CALL, ", ".join(shown))


@pytest.mark.parametrize("client", CHAT_CLIENTS, ids=lambda client: client.name)
def test_a_stream_returns_the_same_in_parts(
    guarded: RunningService, caption: Any, matrix: Matrix, client: ForeignClient
) -> None:
    stream = answers_of(client, guarded.url)["stream"]
    assert "".join(stream["texts"]) == caption["answer"]
    assert len([text for text in stream["texts"] if text]) > 5
    shown = ["text"]
    if "stream" in client.shows_boxes:
        assert_grounding(stream["grounding"], caption)
        shown.append("boxes, scores")
    if client.shows_usage:
        assert stream["usage"] == answers_of(client, guarded.url)["whole"]["usage"]
        shown.append("usage")
    matrix.add(client.name, client.version, CALL, ", ".join(shown), streamed=True)


@pytest.mark.parametrize("client", [OPENAI, OPENAI_NODE, LANGCHAIN], ids=lambda c: c.name)
def test_json_has_the_boxes(
    guarded: RunningService, caption: Any, matrix: Matrix, client: ForeignClient
) -> None:
    found = answers_of(client, guarded.url)["detections"]["detections"]
    boxes = [(entity["phrase"], box) for entity in caption["entities"] for box in entity["boxes"]]
    assert [one["class_name"] for one in found] == [phrase for phrase, _ in boxes]
    for one, (_, box) in zip(found, boxes, strict=True):
        edges = [one[name] for name in ("x_min", "y_min", "x_max", "y_max")]
        assert edges == pytest.approx(box["xyxy_refined_normalized"], abs=1e-3)
        assert one["confidence"] == pytest.approx(box["confidence"], abs=1e-3)
    matrix.add(client.name, client.version, "chat as JSON", "boxes, scores, classes")


@pytest.mark.parametrize("client", [OPENAI, OPENAI_NODE], ids=lambda client: client.name)
def test_a_task_is_chosen_in_the_body(
    guarded: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    located = answers_of(client, guarded.url)["located"]
    ours = ask_directly(guarded.url, task="phrase_grounding", text="a red circle")
    assert located["text"] == ours["text"] == "a red circle"
    [entity] = located["grounding"]["entities"]
    assert are_same(entity["boxes"], ours["entities"][0]["boxes"])
    assert len(entity["boxes"]) == 2
    matrix.add(client.name, client.version, "chat with a task", "text, boxes, scores")


@pytest.mark.parametrize("client", [OPENAI, OPENAI_NODE], ids=lambda client: client.name)
def test_the_model_is_listed(
    guarded: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    version = loopback.get(f"{guarded.url}/version").json()
    assert answers_of(client, guarded.url)["models"] == [version["model"]["name"]]
    matrix.add(client.name, client.version, "models", "name")


def test_openais_client_reads_log_probabilities(guarded: RunningService, caption: Any) -> None:
    whole = answers_of(OPENAI, guarded.url)["whole"]
    assert whole["num_logprobs"] == caption["usage"]["completion_tokens"] - 1  # no end token


REFUSALS = {
    OPENAI.name: {
        "url": ["BadRequestError", 400, "image_url_not_allowed", "fetches no pictures"],
        "n": ["BadRequestError", 400, "unsupported_value", "n: must be 1"],
        "key": ["AuthenticationError", 401, "unauthorized", "Authorization: Bearer"],
        "model": ["NotFoundError", 404, "model_not_found", "the only one is"],
    },
    OPENAI_NODE.name: {
        "url": ["BadRequestError", 400, "image_url_not_allowed", "fetches no pictures"],
        "n": ["BadRequestError", 400, "unsupported_value", "n: must be 1"],
        "key": ["AuthenticationError", 401, "unauthorized", "Authorization: Bearer"],
        "model": ["NotFoundError", 404, "model_not_found", "the only one is"],
    },
    AI_SDK.name: {
        "task": ["AI_APICallError", 400, "task: input should be"],
        "key": ["AI_APICallError", 401, "Authorization: Bearer"],
    },
    HUB.name: {
        "url": ["BadRequestError", 400, "fetches no pictures"],
        "key": ["HfHubHTTPError", 401, "Authorization: Bearer"],
    },
    LANGCHAIN.name: {
        "url": ["OpenAIInvalidRequestError", 400, "image_url_not_allowed", "fetches no pictures"],
        "key": ["OpenAIAuthenticationError", 401, "unauthorized", "Authorization: Bearer"],
    },
}
"""What each client raises: its class of error, status, code if it has one, part of the message."""


@pytest.mark.parametrize("client", CHAT_CLIENTS, ids=lambda client: client.name)
def test_a_refusal_is_shown_to_the_user(
    guarded: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    raised = answers_of(client, guarded.url)["errors"]
    assert raised.keys() == REFUSALS[client.name].keys()
    for name, (*facts, message) in REFUSALS[client.name].items():
        *found, shown = raised[name]
        assert found == facts
        assert message in shown
    statuses = sorted({str(error[1]) for error in raised.values()})
    matrix.add(client.name, client.version, "refused chat", f"message of {', '.join(statuses)}")


@pytest.fixture(scope="module")
def one_slot(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service that admits one request at a time, whose answers end at their token limit."""
    with running_service(model=endless_checkpoint, slots=1, max_waiting=0) as running:
        yield running


def num_rejected(service: RunningService) -> float:
    """Return how many chats were rejected at their headers."""
    labels = '{door="openai",outcome="rejected",task="unknown"}'
    return service.metric(f"kosmos2_requests_total{labels}")


@pytest.mark.parametrize("client", [OPENAI, OPENAI_NODE, AI_SDK], ids=lambda client: client.name)
def test_a_client_tries_again_when_the_service_is_full(
    one_slot: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    before = num_rejected(one_slot)
    with full(one_slot):
        process = client.start("retry", one_slot.url)
        assert eventually(lambda: num_rejected(one_slot) > before, timeout_s=120)
    assert result_of(process)["has_answer"]
    matrix.add(client.name, client.version, "chat with a full service", "retry after 503")


@pytest.fixture(scope="module")
def failing(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service whose engine fails at the sixth token of requests with a certain seed."""
    with running_service(
        "harness.serve_with_engine", FAULTY_ENGINE, model=endless_checkpoint
    ) as running:
        yield running


@pytest.mark.parametrize("client", [OPENAI, OPENAI_NODE], ids=lambda client: client.name)
def test_an_error_in_the_middle_of_a_stream_raises(
    failing: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    raised = client.run("broken", failing.url)
    assert raised["num_chunks"] > 0
    assert raised["code"] == "engine_failure"
    assert "engine" in raised["message"]
    matrix.add(client.name, client.version, "broken chat", "error of 500", streamed=True)


@pytest.mark.parametrize(
    "client",
    [OPENAI, OPENAI_NODE, AI_SDK, HUB, MOONDREAM],
    ids=lambda client: client.name,
)
def test_closing_a_stream_cancels_the_request(
    one_slot: RunningService, matrix: Matrix, client: ForeignClient
) -> None:
    door, task = (
        ("moondream", "detailed_caption") if client is MOONDREAM else ("openai", "brief_caption")
    )
    labels = f'{{door="{door}",outcome="cancelled",task="{task}"}}'

    def num_cancelled() -> float:
        return one_slot.metric(f"kosmos2_requests_total{labels}")

    before = num_cancelled()
    assert eventually(lambda: one_slot.metric("kosmos2_num_requests_running") == 0)
    assert client.run("cancel", one_slot.url)
    assert eventually(lambda: num_cancelled() == before + 1)
    call = "caption" if client is MOONDREAM else CALL
    matrix.add(
        client.name, client.version, f"closed {call}", "cancellation by closing", streamed=True
    )

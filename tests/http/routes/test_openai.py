"""The door for OpenAI's clients, in process: what it accepts, answers and refuses."""

from pathlib import Path
from typing import Any

import pytest

from app.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InvalidRequest,
    Overloaded,
    UnsupportedImageFormat,
)
from app.grounding.tokenizer import MAX_CHARACTERS
from app.http.routes.openai.models import models_router
from harness.door_app import DoorApp, KnownService
from tests.http.routes.chats import CAPTION, LOCATED, answer, error_of, image, text, user


@pytest.mark.parametrize(
    ("messages", "task", "words"),
    [
        ([user(image())], "brief_caption", None),
        ([user(image(), text("  "))], "brief_caption", None),
        ([user(text("What is"), image(), text("this? "))], "grounded_vqa", "What is this?"),
        ([user(image(bare=True), text("<grounding> A"))], "raw", "<grounding> A"),
        ([user(image()), {"role": "user", "content": "Why?"}], "grounded_vqa", "Why?"),
        (
            [
                {"role": "system", "content": [{"type": "audio"}]},
                user(image(), image("data:,first is not used")),
                {"role": "assistant", "content": None, "tool_calls": []},
                user(image(), text("Why?")),
            ],
            "grounded_vqa",
            "Why?",
        ),
    ],
)
def test_the_last_user_message_decides_the_task(
    send_chat: Any, messages: list[Any], task: str, words: str | None
) -> None:
    response, service = send_chat(*messages)
    assert response.status_code == 200, response.text
    [asked] = service.requests
    assert (asked.task.name, asked.text, asked.image) == (task, words, b"picture")
    assert asked.shortens_answer


def test_a_task_in_the_body_decides(send_chat: Any) -> None:
    region = {"phrase": "it", "boxes": [[1, 2, 3, 4]]}
    _, service = send_chat(
        user(image(), text("Where does it sit?")),
        task="grounded_vqa", regions=[region], temperature=0.5, top_p=0.9, top_k=4, seed=-1,
        max_completion_tokens=9000, stop=["\n"], tools=[{"type": "function"}], user="u",
        stream_options={}, n=1, top_logprobs=0, metadata={"a": None}, tool_choice="required",
    )  # fmt: skip
    [asked] = service.requests
    assert asked.regions[0].phrase == "it"
    assert (asked.temperature, asked.top_p, asked.top_k) == (0.5, 0.9, 4)
    assert (asked.seed, asked.max_new_tokens, asked.stop) == (2**63 - 1, 1024, ("\n",))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"max_tokens": 7}, 7), ({"max_tokens": 7, "max_completion_tokens": 5}, 5), ({}, 128)],
)
def test_both_names_limit_the_answer(send_chat: Any, fields: dict[str, int], expected: int) -> None:
    assert send_chat(**fields)[1].requests[0].max_new_tokens == expected


def test_the_content_is_the_answer_and_spans_index_it(send_chat: Any) -> None:
    """Boxes that the request sent are not part of it."""
    content = send_chat()[0].json()
    assert content["id"] == f"chatcmpl-{CAPTION.id}"
    assert (content["object"], content["created"]) == ("chat.completion", 5)
    [choice] = content["choices"]
    message = choice["message"]
    assert (message["content"], choice["finish_reason"]) == ("a dog.", "stop")
    [entity] = message["grounding"]["entities"]
    assert (entity["phrase"], entity["span"]) == ("a dog", [0, 5])
    assert entity["boxes"][0]["score"] == 0.7
    assert message["grounding"]["notice"] == "a stand-in"
    assert choice["logprobs"] is None
    assert content["usage"] == {
        "prompt_tokens": 70, "completion_tokens": 3, "total_tokens": 73,
        "prompt_tokens_details": {"cached_tokens": 60},
    }  # fmt: skip


def test_the_content_begins_with_the_located_phrase_of_the_prompt(send_chat: Any) -> None:
    message = send_chat(service=KnownService(LOCATED))[0].json()["choices"][0]["message"]
    assert message["content"] == "a dog runs"
    assert message["grounding"]["entities"][0]["span"] == [0, 5]


def test_log_probabilities_are_those_of_the_chosen_tokens(send_chat: Any) -> None:
    logprobs = send_chat(logprobs=True)[0].json()["choices"][0]["logprobs"]["content"]
    assert [(one["token"], one["logprob"]) for one in logprobs] == [
        (" a", -0.25), ("", -0.5), (" é", -1.0),
    ]  # fmt: skip
    assert logprobs[2]["bytes"] == [32, 195, 169]
    assert logprobs[2]["top_logprobs"] == []


@pytest.mark.parametrize(
    ("messages", "fields", "code", "param"),
    [
        ([user(image("https://a.example/b.png"))], {}, "image_url_not_allowed",
         "messages[0].content[0].image_url.url"),
        ([user(image("file:///etc/passwd", bare=True))], {}, "image_url_not_allowed",
         "messages[0].content[0].image_url"),
        ([user(image(), text("a"), image())], {}, "too_many_images", "messages[0].content[2]"),
        ([user(text("a"))], {}, "invalid_request", "messages"),
        ([{"role": "system", "content": "a"}], {}, "invalid_request", "messages"),
        ([{"role": "user"}], {}, "invalid_request", "messages[0].content"),
        ([user({"type": "input_audio"})], {}, "invalid_request", "messages[0].content[0].type"),
        ([user(image(7))], {}, "invalid_request", "messages[0].content[0].image_url.url"),
        ([user(image("data:image/png;base64,~"))], {}, "invalid_request",
         "messages[0].content[0].image_url.url"),
        ([user(image("data:image/png;base64,"))], {}, "invalid_request",
         "messages[0].content[0].image_url.url"),
        ([], {"messages": []}, "invalid_request", "messages"),
        ([], {"messages": "text"}, "invalid_request", "messages"),
        ([], {"n": 2}, "unsupported_value", "n"),
        ([], {"logprobs": True, "top_logprobs": 3}, "unsupported_value", "top_logprobs"),
        ([], {"task": "dance"}, "invalid_request", "task"),
        ([], {"temperature": 3}, "invalid_request", "temperature"),
        ([], {"max_tokens": 0}, "invalid_request", "max_tokens"),
        ([], {"stop": ["a"] * 17}, "invalid_request", "stop"),
        ([], {"stop": ""}, "invalid_request", "stop"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(
    send_chat: Any, messages: list[Any], fields: dict[str, Any], code: str, param: str
) -> None:
    response, service = send_chat(*messages, **fields)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, code)
    assert error["param"].startswith(param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert service.requests == []


LONG = "a" * (MAX_CHARACTERS + 1)
PLAIN = {"role": "user", "content": LONG}


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([user(image(), text(LONG))], {}, "messages[0].content[1].text"),
        ([user(text(" "), image(), text(LONG))], {}, "messages[0].content[2].text"),
        ([user(text("a"), image(), text(LONG))], {}, "messages[0].content"),
        ([user(image()), PLAIN], {}, "messages[1].content"),
        ([user(image(), text("a"))], {"regions": [{"boxes": []}]}, "regions[0].boxes"),
    ],
)
def test_a_mistake_in_the_text_is_named_by_its_message(
    send_chat: Any, messages: list[Any], fields: dict[str, Any], param: str
) -> None:
    response, service = send_chat(*messages, **fields)
    assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert error_of(response)["message"].startswith(f"{param}: ")
    assert service.requests == []


@pytest.mark.parametrize(
    ("ours", "param"),
    [
        ("text", "messages[0].content"),
        ("regions[0].phrase", "regions[0].phrase"),
        ("max_new_tokens", "max_completion_tokens"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_mistake_that_the_service_finds_is_named_as_sent(
    send_chat: Any, ours: str, param: str, stream: bool
) -> None:
    service = KnownService(answer("", 0, 0), error=InvalidRequest(ours, "is wrong", code="c"))
    response, _ = send_chat(service=service, stream=stream, max_completion_tokens=9, max_tokens=8)
    error = error_of(response)
    assert (response.status_code, error["param"], error["code"]) == (400, param, "c")
    assert error["message"] == f"{param}: is wrong"


@pytest.mark.parametrize(
    ("raised", "status", "kind", "code"),
    [
        (UnsupportedImageFormat("no"), 400, "invalid_request_error", "unsupported_image_format"),
        (ImageTooLarge("no"), 413, "invalid_request_error", "image_too_large"),
        (Overloaded("full", 7), 503, "server_error", "overloaded"),
        (DeadlineExceeded("late"), 504, "server_error", "deadline_exceeded"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_errors_have_the_shape_of_openai(
    send_chat: Any, raised: Exception, status: int, kind: str, code: str, stream: bool
) -> None:
    service = KnownService(answer("", 0, 0), error=raised)
    response, _ = send_chat(service=service, stream=stream)
    error = error_of(response)
    assert (response.status_code, error["type"], error["code"]) == (status, kind, code)
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)


def test_the_only_model_is_listed(tmp_path: Path) -> None:
    door = DoorApp(
        "openai", lambda s, c: models_router("a/b", lambda: 9.9), KnownService(), tmp_path
    )
    listed = door.send("GET", "/v1/models").json()
    assert listed["object"] == "list"
    [model] = listed["data"]
    assert (model["id"], model["object"], model["created"]) == ("a/b", "model", 9)
    assert door.send("GET", "/v1/models/a/b").json() == model
    missing = door.send("GET", "/v1/models/gpt-4o")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")


def test_requests_are_counted_by_door(send_chat: Any, chat_door: DoorApp) -> None:
    labels = {"task": "detailed_caption", "outcome": "completed", "door": "openai"}
    counted = chat_door.registry.get_sample_value
    before = counted("kosmos2_requests_total", labels) or 0
    send_chat(task="detailed_caption")
    assert counted("kosmos2_requests_total", labels) == before + 1


def test_ignored_objects_may_have_hundreds_of_names(send_chat: Any) -> None:
    """Clients send a weight for each of 300 tokens, and tools with many parameters."""
    response, _ = send_chat(logit_bias={str(token): 0 for token in range(300)})
    assert response.status_code == 200

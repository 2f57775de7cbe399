"""Streams at the door for OpenAI's clients, in process."""

import json
from typing import Any

import pytest

from app.errors import DeadlineExceeded
from app.grounding.answers import NewText
from harness.door_app import KnownService
from tests.http.routes.chats import CAPTION, LOCATED, answer, chunks


def test_a_stream_ends_with_the_boxes_the_usage_and_done(send_chat: Any) -> None:
    parts = (NewText("a "), NewText("dog."))
    response, _ = send_chat(
        service=KnownService(CAPTION, parts=parts),
        stream=True, stream_options={"include_usage": True}, logprobs=True,
    )  # fmt: skip
    first, *texts, last, usage, done = chunks(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [one["choices"][0]["delta"] for one in texts] == [{"content": "a "}, {"content": "dog."}]
    assert last["choices"][0]["delta"]["grounding"]["entities"][0]["span"] == [0, 5]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert len(last["choices"][0]["logprobs"]["content"]) == 3
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 73)
    assert done == "[DONE]"
    assert {one["object"] for one in (first, *texts, last, usage)} == {"chat.completion.chunk"}
    assert "usage" not in first


@pytest.mark.parametrize("parts", [(NewText("runs", "a dog "),), ()])
def test_a_stream_begins_with_the_located_phrase(send_chat: Any, parts: Any) -> None:
    """Also if the answer has no text of its own."""
    located = LOCATED if parts else answer("a dog", 5, 0)
    response, _ = send_chat(service=KnownService(located, parts=parts), stream=True)
    _, *texts, _, _ = chunks(response)
    content = "".join(one["choices"][0]["delta"]["content"] for one in texts)
    assert content == located.grounded.content


def test_json_is_one_chunk_of_a_stream(send_chat: Any) -> None:
    response, _ = send_chat(stream=True, response_format={"type": "json_object"})
    _, content, last, _ = chunks(response)
    assert json.loads(content["choices"][0]["delta"]["content"])["detections"]
    assert last["choices"][0]["delta"] == {}


def test_an_error_in_a_stream_is_its_last_event(send_chat: Any) -> None:
    service = KnownService(CAPTION, error=DeadlineExceeded("late"))
    *_, error = chunks(send_chat(service=service, stream=True)[0])
    assert error == {
        "error": {
            "message": "late", "type": "server_error", "param": None, "code": "deadline_exceeded",
        }
    }  # fmt: skip


def test_an_unexpected_error_in_a_stream_has_the_same_shape(send_chat: Any) -> None:
    service = KnownService(CAPTION, error=ZeroDivisionError())
    *_, error = chunks(send_chat(service=service, stream=True)[0])
    assert error["error"]["code"] == "internal_error"

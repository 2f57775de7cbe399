"""Runs the released `openai` against a service; prints JSON.

python openai_client.py MODE URL KEY PICTURE
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import openai
from pydantic import BaseModel

mode, url, key, picture = sys.argv[1:]
URI = f"data:image/jpeg;base64,{base64.b64encode(Path(picture).read_bytes()).decode()}"


class Detection(BaseModel):
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    class_name: str
    confidence: float


class Detections(BaseModel):
    detections: list[Detection]


def messages(text: str = "", image: str = URI) -> Any:
    parts = [{"type": "image_url", "image_url": {"url": image}}]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *parts]}]


def connect(api_key: str = key) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=8, timeout=120)


def whole() -> Any:
    completion = connect().chat.completions.create(
        model="gpt-4o", messages=messages(), logprobs=True, max_completion_tokens=4096
    )
    choice = completion.choices[0]
    return {
        "text": choice.message.content,
        "grounding": choice.message.grounding,
        "usage": completion.usage.total_tokens,
        "num_logprobs": len(choice.logprobs.content),
    }


def stream() -> Any:
    chunks = connect().chat.completions.create(
        model="gpt-4o", messages=messages(), stream=True, stream_options={"include_usage": True}
    )
    texts, grounding, usage = [], None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            grounding = getattr(choice.delta, "grounding", grounding)
    return {"texts": texts, "grounding": grounding, "usage": usage.total_tokens}


def located() -> Any:
    completion = connect().chat.completions.create(
        model="gpt-4o", messages=messages("a red circle"), extra_body={"task": "phrase_grounding"}
    )
    message = completion.choices[0].message
    return {"text": message.content, "grounding": message.grounding}


def parsed() -> Any:
    completion = connect().chat.completions.parse(
        model="gpt-4o", messages=messages(), response_format=Detections
    )
    return completion.choices[0].message.parsed.model_dump()


def error_of(call: Any) -> Any:
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.message]
    raise AssertionError("the call was not refused")


def errors() -> Any:
    create = connect().chat.completions.create
    wrong_key = connect("wrong").chat.completions.create
    return {
        "url": error_of(
            lambda: create(model="m", messages=messages(image="https://a.example/b.png"))
        ),
        "n": error_of(lambda: create(model="m", messages=messages(), n=2)),
        "key": error_of(lambda: wrong_key(model="m", messages=messages())),
        "model": error_of(lambda: connect().models.retrieve("gpt-4o")),
    }


def answers() -> Any:
    return {
        "models": [model.id for model in connect().models.list()],
        "whole": whole(),
        "stream": stream(),
        "located": located(),
        "detections": parsed(),
        "errors": errors(),
    }


def retry() -> Any:
    completion = connect().chat.completions.create(model="m", messages=messages(), max_tokens=4)
    return {"has_answer": len(completion.choices) == 1}


def cancel() -> Any:
    chunks = connect().chat.completions.create(
        model="m", messages=messages(), max_tokens=400, stream=True
    )
    first = next(iter(chunks))
    chunks.close()
    return {"role": first.choices[0].delta.role}


def broken() -> Any:
    """Read a stream whose engine fails after a few tokens, because of the seed."""
    chunks = connect().chat.completions.create(
        model="m", messages=messages(), max_tokens=50, stream=True, seed=1_000_003
    )
    num_chunks = 0
    try:
        for _ in chunks:
            num_chunks += 1
    except openai.APIError as error:
        return {"num_chunks": num_chunks, "code": error.code, "message": error.message}
    raise AssertionError("the stream did not fail")


modes = {"answers": answers, "retry": retry, "cancel": cancel, "broken": broken}
json.dump(modes[mode](), sys.stdout)

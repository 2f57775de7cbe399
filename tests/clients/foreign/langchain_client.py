"""Runs the released `langchain-openai` against a service; prints JSON.

python langchain_client.py MODE URL KEY PICTURE
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import openai
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

_, url, key, picture = sys.argv[1:]
URI = f"data:image/jpeg;base64,{base64.b64encode(Path(picture).read_bytes()).decode()}"


def messages(image: str = URI) -> Any:
    return [HumanMessage(content=[{"type": "image_url", "image_url": {"url": image}}])]


def connect(api_key: str = key) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", api_key=api_key, max_tokens=4096)


def error_of(call: Any) -> Any:
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.message]
    raise AssertionError("the call was not refused")


whole = connect().invoke(messages())
chunks = list(connect().stream(messages(), stream_usage=True))
as_json = connect().bind(response_format={"type": "json_object"}).invoke(messages())
json.dump(
    {
        "whole": {"text": whole.content, "usage": whole.usage_metadata["total_tokens"]},
        "stream": {
            "texts": [chunk.content for chunk in chunks],
            "usage": sum((chunk.usage_metadata or {}).get("total_tokens", 0) for chunk in chunks),
        },
        "detections": json.loads(as_json.content),
        "errors": {
            "url": error_of(lambda: connect().invoke(messages("https://a.example/b.png"))),
            "key": error_of(lambda: connect("wrong").invoke(messages())),
        },
    },
    sys.stdout,
)

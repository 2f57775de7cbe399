"""Runs the released `huggingface_hub` against a service; prints JSON.

python hub_client.py MODE URL KEY PICTURE
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

mode, url, key, picture = sys.argv[1:]
URI = f"data:image/jpeg;base64,{base64.b64encode(Path(picture).read_bytes()).decode()}"


def messages(image: str = URI) -> Any:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]


def connect(api_key: str = key) -> InferenceClient:
    return InferenceClient(base_url=f"{url}/v1", api_key=api_key, timeout=120)


def whole() -> Any:
    completion = connect().chat_completion(messages())
    return {
        "text": completion.choices[0].message.content,
        "grounding": completion.choices[0].message.grounding,
        "usage": completion.usage.total_tokens,
    }


def stream() -> Any:
    grounding, texts = None, []
    client = connect()  # its end would close the stream
    for chunk in client.chat_completion(messages(), stream=True):
        texts.append(chunk.choices[0].delta.content or "")
        grounding = getattr(chunk.choices[0].delta, "grounding", grounding)
    return {"texts": texts, "grounding": grounding}


def error_of(call: Any) -> Any:
    try:
        call()
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code, str(error)]
    raise AssertionError("the call was not refused")


def answers() -> Any:
    return {
        "whole": whole(),
        "stream": stream(),
        "errors": {
            "url": error_of(lambda: connect().chat_completion(messages("https://a.example/b.png"))),
            "key": error_of(lambda: connect("wrong").chat_completion(messages())),
        },
    }


def cancel() -> Any:
    client = connect()
    chunks = client.chat_completion(messages(), max_tokens=400, stream=True)
    first = next(iter(chunks))
    chunks.close()
    return {"role": first.choices[0].delta.role}


json.dump({"answers": answers, "cancel": cancel}[mode](), sys.stdout)

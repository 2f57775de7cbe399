"""Runs the released `moondream` against a service; prints JSON.

python moondream_client.py MODE URL KEY PICTURE
"""

import json
import sys
from typing import Any
from urllib.error import HTTPError

import moondream
from PIL import Image

mode, url, key, picture = sys.argv[1:]
image = Image.open(picture)


def connect(api_key: str = key) -> Any:
    return moondream.vl(endpoint=f"{url}/moondream", api_key=api_key)


def error_of(call: Any) -> Any:
    try:
        call()
    except HTTPError as error:
        return [error.code, json.loads(error.read())["detail"]]
    raise AssertionError("the call was not refused")


def answers() -> Any:
    question = "What color is the square?"
    return {
        "caption": connect().caption(image, length="short")["caption"],
        "query": connect().query(image, question)["answer"],
        "detect": connect().detect(image, "red circle")["objects"],
        "point": connect().point(image, "red circle")["points"],
        "streamed caption": list(connect().caption(image, length="short", stream=True)["caption"]),
        "streamed query": list(connect().query(image, question, stream=True)["answer"]),
        "errors": {
            "key": error_of(lambda: connect("wrong").caption(image)),
            "length": error_of(lambda: connect().caption(image, length="endless")),
            "spatial_refs": error_of(
                lambda: connect().query(image, question, spatial_refs=[[0.1, 0.2]])
            ),
        },
    }


def cancel() -> Any:
    chunks = connect().caption(image, settings={"max_tokens": 400}, stream=True)["caption"]
    first = next(chunks)
    chunks.close()
    return {"has_text": bool(first)}


json.dump({"answers": answers, "cancel": cancel}[mode](), sys.stdout)

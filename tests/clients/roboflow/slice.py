"""Runs `supervision`'s slicer, whose callback calls `POST /v1/detect`; prints JSON.

python slice.py URL KEY PICTURE
"""

import io
import json
import sys

import numpy as np
import requests
import supervision as sv
from PIL import Image

url, key, path = sys.argv[1:]


def detect(part: np.ndarray) -> sv.Detections:
    file = io.BytesIO()
    Image.fromarray(part).save(file, "PNG")
    response = requests.post(
        f"{url}/v1/detect",
        files={"image": file.getvalue()},
        data={"classes": "blue square", "confidence": "0.3"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    response.raise_for_status()
    return sv.Detections.from_inference(response.json())


slicer = sv.InferenceSlicer(callback=detect, slice_wh=(300, 200), overlap_wh=(80, 80))
found = slicer(np.asarray(Image.open(path).convert("RGB")))
json.dump({"xyxy": found.xyxy.tolist(), "confidence": found.confidence.tolist()}, sys.stdout)

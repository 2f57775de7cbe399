"""Converts answers with the client and with supervision; prints the boxes of both.

python convert.py ANSWERS
"""

import json
import sys
from pathlib import Path

import supervision as sv

from kosmos2_client.results import read_result


def as_json(detections: sv.Detections) -> dict[str, object]:
    return {
        "xyxy": detections.xyxy.tolist(),
        "class_name": [str(name) for name in detections.data.get("class_name", [])],
        "confidence": None if detections.confidence is None else detections.confidence.tolist(),
    }


converted = []
for answer in json.loads(Path(sys.argv[1]).read_text()):
    result = read_result(answer)
    size = (result.image.width, result.image.height)
    pair = result.to_tuple()
    converted.append(
        {
            "to_supervision": as_json(result.to_supervision()),
            "from_vlm": as_json(sv.Detections.from_vlm(sv.VLM.KOSMOS_2, pair, resolution_wh=size)),
        }
    )
json.dump(converted, sys.stdout)

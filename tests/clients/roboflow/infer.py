"""Runs the released `inference-sdk` and `supervision` against a service; prints JSON.

python infer.py URL KEY PICTURE OTHER_PICTURE
"""

import json
import sys

import supervision as sv
from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError
from PIL import Image

url, key, first, second = sys.argv[1:]
CLASSES = ["red circle", "blue square", "green star"]


def connect(api_key: str) -> InferenceHTTPClient:
    client = InferenceHTTPClient(api_url=url, api_key=api_key)
    client.configure(InferenceConfiguration(api_key_transport="header"))
    return client


client = connect(key)
results = {
    "path": client.infer_from_yolo_world(first, class_names=CLASSES, confidence=0.3),
    "object": client.infer_from_yolo_world(Image.open(first), class_names=CLASSES, confidence=0.3),
    "list": client.infer_from_yolo_world([first, second], class_names=CLASSES, confidence=0.3),
}
errors = {}
for name, caller, classes in (
    ("wrong key", connect("wrong"), CLASSES),
    ("duplicate", client, ["disc", "disc"]),
):
    try:
        caller.infer_from_yolo_world(first, class_names=classes)
    except HTTPCallErrorError as error:
        errors[name] = [error.status_code, error.api_message]

detections = sv.Detections.from_inference(results["path"][0])
scene = Image.open(first)
drawn = sv.BoxAnnotator().annotate(scene.copy(), detections)
drawn = sv.LabelAnnotator().annotate(drawn, detections)

json.dump(
    {
        "results": results,
        "errors": errors,
        "detections": {
            "xyxy": detections.xyxy.tolist(),
            "confidence": detections.confidence.tolist(),
            "class_id": detections.class_id.tolist(),
            "class_name": detections.data["class_name"].tolist(),
        },
        "is_drawn": drawn.tobytes() != scene.tobytes(),
    },
    sys.stdout,
)

"""Calls the service with the package of openapi-python-client: script URL PICTURE."""

import json
import sys
from io import BytesIO
from pathlib import Path

from kosmos_2_client import Client, models
from kosmos_2_client.api.grounding import detect_v1_detect_post, ground_v1_ground_post
from kosmos_2_client.types import File

url, path = sys.argv[1:]
client = Client(url)
content = Path(path).read_bytes()
fields = models.GroundV1GroundPostFilesGroundBody(
    image=File(BytesIO(content), "scene.jpg", "image/jpeg"),
    task=models.GroundV1GroundPostFilesGroundBodyTask.BRIEF_CAPTION,
    temperature=0.1,
)
answer = ground_v1_ground_post.sync(
    client=client, body=fields, x_request_id="an-id", x_request_timeout=60
)
classes = models.DetectV1DetectPostFilesDetectBody(
    image=File(BytesIO(content), "scene.jpg", "image/jpeg"),
    classes='["red circle"]',
    confidence=0.4,
    tiles="auto",
)
found = detect_v1_detect_post.sync(client=client, body=classes)
facts = {
    "id": answer.id,
    "seed": answer.seed,
    "boxes": [box.xyxy for entity in answer.entities for box in entity.boxes],
    "classes": [prediction.class_ for prediction in found.predictions],
}
print(json.dumps(facts))

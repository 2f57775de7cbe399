"""Calls the service with the Python package of openapi-generator: script URL PICTURE."""

import json
import sys

from openapi_client import ApiClient, Configuration, GroundingApi

url, path = sys.argv[1:]
api = GroundingApi(ApiClient(Configuration(host=url)))
# Its code cannot send a number with a fraction in a form.
answer = api.ground_v1_ground_post(
    image=path, task="brief_caption", temperature=1, x_request_id="an-id", x_request_timeout=60
)
found = api.detect_v1_detect_post(image=path, classes='["red circle"]', tiles="auto")
facts = {
    "id": answer.id,
    "seed": answer.seed,
    "boxes": [box.xyxy for entity in answer.entities for box in entity.boxes],
    "classes": [prediction.var_class for prediction in found.predictions],
}
print(json.dumps(facts))

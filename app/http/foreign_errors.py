"""The shapes of error bodies on routes of other projects' clients; all others use problem+json."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from app.contract.response_models import Problem

ROBOFLOW_PATHS = ("/yolo_world/infer", "/grounding_dino/infer")

ErrorShape = Callable[[Problem], str]
"""Writes a problem as the JSON that the route's clients read."""


def _roboflow(problem: Problem) -> str:
    """Return a body from which `inference-sdk` reads `message`."""
    return json.dumps(
        {"message": problem.detail, "code": problem.code, "request_id": problem.request_id}
    )


ERROR_SHAPES: Mapping[str, ErrorShape] = MappingProxyType(dict.fromkeys(ROBOFLOW_PATHS, _roboflow))
"""The shape of each foreign path."""

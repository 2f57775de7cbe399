"""The shapes of error bodies on routes of other projects' clients; all others use problem+json."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import BaseModel, Field

from app.contract.response_models import Problem

ROBOFLOW_PATHS = ("/yolo_world/infer", "/grounding_dino/infer")

ErrorShape = Callable[[Problem], str]
"""Writes a problem as the JSON that the route's clients read."""


class RoboflowError(BaseModel):
    """An error of which Roboflow's clients show `message`."""

    message: str
    code: str = Field(description="Stable name of the kind of error.")
    request_id: str


def _roboflow(problem: Problem) -> str:
    error = RoboflowError(message=problem.detail, code=problem.code, request_id=problem.request_id)
    return error.model_dump_json()


ERROR_SHAPES: Mapping[str, ErrorShape] = MappingProxyType(dict.fromkeys(ROBOFLOW_PATHS, _roboflow))
"""The shape of each foreign path."""

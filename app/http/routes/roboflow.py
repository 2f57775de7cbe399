"""Routes for Roboflow's clients: `POST /yolo_world/infer` and `POST /grounding_dino/infer`.

They accept what `inference-sdk` sends, and answer like `POST /v1/detect`. Unknown fields are
ignored, so that newer clients keep working. `api_key` in the body is not a key of this service.
"""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.contract.detect_models import DetectBody, DetectionsBody, NmsBody
from app.contract.sent_fields import rename_fields
from app.contract.validation import validate
from app.detect.requests import MAX_CLASSES
from app.errors import InvalidRequest
from app.http.bodies import JSON, read_json_fields
from app.http.call_context import with_priority
from app.http.calls import Call, Calls
from app.http.connection import Lifetime, while_connected
from app.http.json_bodies import take_image
from app.http.openapi import SECURITY, door_error_responses, inline_schema
from app.http.routes.detect import DETECT
from app.service import Service

ROBOFLOW_PATHS = ("/yolo_world/infer", "/grounding_dino/infer")

_PICTURE = {
    "type": "object",
    "properties": {"type": {"const": "base64"}, "value": {"type": "string"}},
    "required": ["type", "value"],
}


class InferBody(BaseModel):
    """The fields that Roboflow's clients send, except the pictures."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: list[str] = Field(max_length=MAX_CLASSES, description="The classes to find.")
    confidence: float | None = Field(None, description="Least confidence of a prediction.")
    box_threshold: float | None = Field(None, description="The same, of Grounding DINO's clients.")
    class_agnostic_nms: bool = Field(
        False, description="Whether boxes of different classes suppress each other."
    )

    @property
    def sent_fields(self) -> dict[str, str]:
        """The paths of this request's fields, by those of `to_detect_body`."""
        confidence = "box_threshold" if self.confidence is None else "confidence"
        return {"classes": "text", "confidence": confidence}

    def to_detect_body(self) -> DetectBody:
        """Return the same request for `POST /v1/detect`.

        Raises:
            InvalidRequest: a field is outside its limits; it has the name of `POST /v1/detect`.
        """
        confidence = self.box_threshold if self.confidence is None else self.confidence
        nms = NmsBody(class_agnostic=self.class_agnostic_nms)
        fields = {"classes": self.text, "confidence": confidence, "nms": nms}
        return validate(DetectBody, fields, strict=False)


def roboflow_router(service: Service, calls: Calls) -> APIRouter:
    """Return a router with both paths."""
    router = APIRouter(tags=["compatibility"])

    async def infer(request: Request, lifetime: Lifetime) -> Response:
        call = calls.begin(request, lifetime)
        call.outcome.task = DETECT
        fields = await read_json_fields(call.paced)
        sent = fields.pop("image", None)
        images = _images_of(sent)
        body = validate(InferBody, fields, strict=False)
        with rename_fields(body.sent_fields):
            answers = await _detect_all(call, service, body.to_detect_body(), images)
        return JSONResponse(answers if isinstance(sent, list) else answers[0])

    for path in ROBOFLOW_PATHS:
        router.post(
            path,
            summary="Detect classes, in the form of Roboflow's clients.",
            response_model=DetectionsBody | list[DetectionsBody],
            responses=door_error_responses("roboflow"),
            openapi_extra={
                "requestBody": {"required": True, "content": {JSON: {"schema": _schema()}}},
                "security": SECURITY,
            },
        )(infer)
    return router


def _schema() -> dict[str, Any]:
    """Return the schema of the body, with the picture or the list of pictures."""
    schema = inline_schema(InferBody)
    schema["properties"]["image"] = {
        "description": "A picture, or a list of pictures; a list gets a list of answers.",
        "anyOf": [_PICTURE, {"type": "array", "items": _PICTURE}],
    }
    schema["required"].append("image")
    return schema


async def _detect_all(
    call: Call, service: Service, body: DetectBody, images: list[bytes]
) -> list[dict[str, Any]]:
    """Return the answers for all pictures, one after the other."""
    context = with_priority(call.context, call.request, None)
    answers = []
    for image in images:
        work = service.detect(body.to_request(image), context)
        found = await while_connected(call.request, work)
        answers.append(DetectionsBody.from_detections(found).to_json())
    return answers


def _images_of(sent: Any) -> list[bytes]:
    """Return the bytes of a picture, or of a list of pictures.

    Raises:
        InvalidRequest: a picture is missing, not base64, or a URL, which the service does not
            fetch.
    """
    if not isinstance(sent, list):
        return [_image_of("image", sent)]
    return [_image_of(f"image[{number}]", image) for number, image in enumerate(sent)]


def _image_of(field: str, image: Any) -> bytes:
    is_base64 = isinstance(image, dict) and image.get("type") == "base64"
    if not is_base64 or not isinstance(image.get("value"), str):
        raise InvalidRequest(field, 'must be {"type": "base64", "value": "…"}')
    value = f"{field}.value"
    with rename_fields({"image.base64": value, "image": value}):
        return take_image({"image": {"base64": image["value"]}})

"""The shapes of errors for other projects' clients; this project's own use problem+json."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from pydantic import BaseModel, Field

from app.contract.response_models import Problem
from app.telemetry.metrics import DoorName


class RoboflowError(BaseModel):
    """An error of which Roboflow's clients show `message`."""

    message: str
    code: str = Field(description="Stable name of the kind of error.")
    request_id: str


class OpenAIErrorDetail(BaseModel):
    """The error itself."""

    message: str
    type: str = Field(description="The class of the error in OpenAI's clients.")
    param: str | None = Field(description="The first wrong field.")
    code: str = Field(description="Stable name of the kind of error.")


class OpenAIError(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorDetail


class MoondreamError(BaseModel):
    """An error of which Moondream's clients show `detail`."""

    detail: str
    code: str = Field(description="Stable name of the kind of error.")
    request_id: str


@dataclass(frozen=True)
class ErrorShape:
    """How the clients of a door read an error.

    Attributes:
        model: the class of the body.
        write: returns the body.
        statuses: the statuses that these clients expect in the place of ours.
    """

    model: type[BaseModel]
    write: Callable[[Problem], BaseModel]
    statuses: Mapping[int, int]

    def status_of(self, status: int) -> int:
        """Return the status that these clients get in the place of ours."""
        return self.statuses.get(status, status)

    def to_response(self, problem: Problem) -> tuple[int, str]:
        """Return the status and the body of a response."""
        return self.status_of(problem.status), self.write(problem).model_dump_json()

    def to_event(self, problem: Problem) -> str:
        """Return the data of the last event of a stream, in ASCII."""
        return json.dumps(self.write(problem).model_dump())


_NO_CHANGE: Mapping[int, int] = MappingProxyType({})
# OpenAI's clients have no class for 415, and treat 422 like 400.
_AS_BAD_REQUEST: Mapping[int, int] = MappingProxyType({415: 400, 422: 400})
_OPENAI_TYPES = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: "authentication_error",
        HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    }
)


def _roboflow(problem: Problem) -> RoboflowError:
    return RoboflowError(message=problem.detail, code=problem.code, request_id=problem.request_id)


def _openai(problem: Problem) -> OpenAIError:
    by_class = "server_error" if problem.status >= 500 else "invalid_request_error"
    kind = _OPENAI_TYPES.get(HTTPStatus(problem.status), by_class)
    param = problem.errors[0].field if problem.errors else None
    return OpenAIError(
        error=OpenAIErrorDetail(message=problem.detail, type=kind, param=param, code=problem.code)
    )


def _moondream(problem: Problem) -> MoondreamError:
    return MoondreamError(detail=problem.detail, code=problem.code, request_id=problem.request_id)


ERROR_SHAPES: Mapping[DoorName, ErrorShape] = MappingProxyType(
    {
        "roboflow": ErrorShape(RoboflowError, _roboflow, _NO_CHANGE),
        "openai": ErrorShape(OpenAIError, _openai, _AS_BAD_REQUEST),
        "moondream": ErrorShape(MoondreamError, _moondream, _NO_CHANGE),
    }
)
"""The shape of each door that does not use problem+json."""

"""The routes that list the model in the form of OpenAI's clients: `GET /v1/models`."""

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.errors import UnknownModel
from app.http.foreign_errors import OpenAIError
from app.http.openapi import SECURITY

_ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": OpenAIError} for code in (401, 429)}
_OWNER = "kosmos2-server"


class ModelBody(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the service started, as Unix time in seconds.")
    owned_by: str = _OWNER


class ModelsBody(BaseModel):
    """All models: the one that is served."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


def models_router(model: str, unix_time: Callable[[], float]) -> APIRouter:
    """Return a router with both routes.

    Args:
        model: the name of the model that is served.
        unix_time: seconds since 1970.
    """
    router = APIRouter(prefix="/v1/models", tags=["compatibility"])
    only = ModelBody(id=model, created=int(unix_time()))
    extra = {"security": SECURITY}

    @router.get("", summary="List the model.", responses=_ERRORS, openapi_extra=extra)
    async def list_models() -> ModelsBody:
        return ModelsBody(data=[only])

    # A name may contain slashes, as those of the Hugging Face hub do.
    @router.get(
        "/{name:path}",
        summary="Return the model with a name.",
        responses={**_ERRORS, 404: {"model": OpenAIError}},
        openapi_extra=extra,
    )
    async def get_model(name: str) -> ModelBody:
        if name != model:
            raise UnknownModel(f"no model has this name; the only one is {model}")
        return only

    return router

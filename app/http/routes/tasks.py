"""`GET /v1/tasks`: what can be asked, with an example for the checkpoint served."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.checkpoint import Checkpoint
from app.contract.examples import EMBEDDED_EXAMPLES, PUBLISHED_EXAMPLES
from app.grounding.tasks import TASKS, Task, Use
from app.http.openapi import KEY_RESPONSES, SECURITY


class TaskBody(BaseModel):
    """A task and what it needs."""

    task: str = Field(description="As it stands in a request.")
    description: str
    prompt: str = Field(description="What the model is asked; a request's own words in braces.")
    text: Use = Field(description="Whether the task takes `text`.")
    regions: Use = Field(description="Whether the task takes `regions`.")
    can_be_plain: bool = Field(description="Whether `grounding=false` is allowed.")
    example: dict[str, Any] = Field(description="The fields of a request, its picture apart.")


def tasks_router(checkpoint: Checkpoint) -> APIRouter:
    """The route.

    Args:
        checkpoint: what is served; the embedded one knows other things than the published one.
    """
    router = APIRouter(prefix="/v1", tags=["grounding"])
    examples = EMBEDDED_EXAMPLES if checkpoint.is_embedded else PUBLISHED_EXAMPLES
    fields = {example.task: example.fields for example in reversed(examples)}
    bodies = [_body(task, fields[task.name]) for task in TASKS.values()]

    @router.get(
        "/tasks",
        summary="What can be asked, with examples.",
        responses=KEY_RESPONSES,
        openapi_extra={"security": SECURITY},
    )
    async def tasks() -> list[TaskBody]:
        return bodies

    return router


def _body(task: Task, example: dict[str, Any]) -> TaskBody:
    return TaskBody(
        task=task.name,
        description=task.description,
        prompt=task.template,
        text=task.text,
        regions=task.regions,
        can_be_plain=task.can_be_plain,
        example=example,
    )

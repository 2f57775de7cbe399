"""The route that lists the tasks, with an example for each: `GET /v1/tasks`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.checkpoint.files import Checkpoint
from app.contract.examples import EMBEDDED_EXAMPLES, PUBLISHED_EXAMPLES
from app.grounding.tasks import TASKS, Task, Use
from app.http.openapi import KEY_RESPONSES, SECURITY


class TaskBody(BaseModel):
    """A task, its prompt and its fields."""

    task: str = Field(description="The value of the field `task`.")
    description: str
    prompt: str = Field(
        description="The prompt; the words of a request replace the names in braces."
    )
    text: Use = Field(description="Whether the task requires, allows or rejects `text`.")
    regions: Use = Field(description="Whether the task requires, allows or rejects `regions`.")
    can_be_plain: bool = Field(description="Whether `grounding=false` is allowed.")
    example: dict[str, Any] = Field(
        description="The fields of an example request, without the picture."
    )


def tasks_router(checkpoint: Checkpoint) -> APIRouter:
    """Return a router with `GET /v1/tasks`; the examples depend on the checkpoint."""
    router = APIRouter(prefix="/v1", tags=["grounding"])
    examples = EMBEDDED_EXAMPLES if checkpoint.is_embedded else PUBLISHED_EXAMPLES
    # Reversed, so that the first example of a task wins.
    fields = {example.task: example.fields for example in reversed(examples)}
    bodies = [_body(task, fields[task.name]) for task in TASKS.values()]

    @router.get(
        "/tasks",
        summary="List the tasks, with examples.",
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

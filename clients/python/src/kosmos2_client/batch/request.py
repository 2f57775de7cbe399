"""The request that a run sends for every picture, and the parts that answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.batch.labels import Labels

Fields = Mapping[str, Any]
"""Fields of `POST /v1/detect` if they contain `classes`, otherwise of `POST /v1/ground`."""

Answer = Mapping[str, Any]
"""A whole answer as JSON."""


class Answerer(Protocol):
    """Answers one request: a service, or an engine in the same process."""

    async def answer(self, image: bytes, fields: Fields) -> Answer:
        """Return the answer to a request.

        Raises:
            Kosmos2ClientError: without an answer; the runner tries again after a transient error.
        """


@dataclass(frozen=True)
class ServiceAnswerer:
    """Answers requests with a running service.

    Attributes:
        client: must not retry, because the runner of a batch does.
    """

    client: AsyncKosmos2

    async def answer(self, image: bytes, fields: Fields) -> Answer:
        """Return the answer to a request; see `Answerer`."""
        options: dict[str, Any] = {"priority": "batch", **fields}
        if "classes" in fields:
            return (await self.client.detect(image, **options)).raw
        return (await self.client.ground(image, **options)).raw


@dataclass(frozen=True)
class BatchRequest:
    """What is requested for every picture: the objects of classes, or a task.

    Attributes:
        labels: the classes to detect; `None` for a task.
        fields: the other fields, such as `confidence`, or `task` and `text`.
    """

    labels: Labels | None = None
    fields: Fields = field(default_factory=dict)

    def requests(self) -> list[Fields]:
        """Return the fields of each request for a picture."""
        if self.labels is None:
            return [self.fields]
        return [{"classes": classes, **self.fields} for classes in self.labels.requests()]

    def combine(self, answers: Sequence[Answer]) -> Answer:
        """Return the answer for a picture, from the answers to `requests()`."""
        return answers[0] if self.labels is None else self.labels.combine(answers)

    def matches(self, answer: Answer) -> bool:
        """Return whether an answer of an earlier run belongs to this request."""
        if self.labels is None:
            return bool(answer.get("task") == self.fields["task"])
        names = [one["class"] for one in answer.get("classes", ())]
        return names == list(self.labels.prompts)


async def answer_picture(answerer: Answerer, request: BatchRequest, image: bytes) -> Answer:
    """Return the answer for a picture's file.

    Raises:
        Kosmos2ClientError: see `Answerer.answer`.
    """
    answers = [await answerer.answer(image, fields) for fields in request.requests()]
    return request.combine(answers)

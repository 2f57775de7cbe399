"""The request that a run sends for every picture, and the parts that answer it."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.batch.labels import Labels
from kosmos2_client.run_file import Line

_ROUNDING = 1e-4
"""The service rounds a confidence to 4 decimals."""

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

    def difference(self, line: Line) -> str | None:
        """Return how a line of an earlier run shows that it belongs to another request.

        `None` means that it shows no difference: a line without options lacks most fields.
        """
        by_answer = None if line.answer is None else self.difference_of(line.answer)
        if by_answer is not None or line.options is None:
            return by_answer
        names = sorted({*line.options, *self.fields})
        changed = (one for one in names if line.options.get(one) != self.fields.get(one))
        name = next(changed, None)
        return None if name is None else f"another --{name.replace('_', '-')}"

    def difference_of(self, answer: Answer) -> str | None:
        """Return how an answer shows that it belongs to another request, or `None`."""
        if self.labels is None:
            return self._difference_of_task(answer)
        names = [one["class"] for one in answer.get("classes", ())]
        if names != list(self.labels.prompts):
            return "other classes"
        if not all(self.labels.has_prompt(found) for found in answer.get("predictions", ())):
            return "other prompts"
        chosen, used = self.fields.get("confidence"), answer.get("confidence")
        if chosen is not None and used is not None and abs(chosen - used) > _ROUNDING:
            return f"another confidence ({used:g})"
        return None

    def _difference_of_task(self, answer: Answer) -> str | None:
        if answer.get("task") != self.fields["task"]:
            return "another task"
        text = self.fields.get("text") or ""
        prompt = str(answer.get("text", ""))[: answer.get("answer_start", 0)]
        # Tags of a raw prompt are not in the text of its answer.
        if "<" not in text and _letters_of(text) not in _letters_of(prompt):
            return "another text"
        return None


def _letters_of(text: str) -> str:
    """Return the letters and digits of ASCII, which every tokenizer of the model keeps."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in normal if letter.isascii() and letter.isalnum())


async def answer_picture(answerer: Answerer, request: BatchRequest, image: bytes) -> Answer:
    """Return the answer for a picture's file.

    Raises:
        Kosmos2ClientError: see `Answerer.answer`.
    """
    answers = [await answerer.answer(image, fields) for fields in request.requests()]
    return request.combine(answers)

"""The tasks of the service, as `GET /v1/tasks` lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kosmos2_client.errors import InvalidAnswer


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        prompt: the words of a request replace the names in braces.
        text: `required`, `allowed` or `refused`.
        regions: `required`, `allowed` or `refused`.
        example: fields of a request that the model of this service answers.
        raw: the whole entry as JSON.
    """

    name: str
    description: str
    prompt: str
    text: str
    regions: str
    example: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def list_from_json(cls, answer: Sequence[Mapping[str, Any]]) -> list[Self]:
        """Return the tasks of an answer.

        Raises:
            InvalidAnswer: a field is missing.
        """
        try:
            return [
                cls(
                    name=one["task"],
                    description=one["description"],
                    prompt=one["prompt"],
                    text=one["text"],
                    regions=one["regions"],
                    example=one["example"],
                    raw=one,
                )
                for one in answer
            ]
        except (KeyError, TypeError) as error:
            raise InvalidAnswer(f"not an answer of /v1/tasks: {error!r}") from None

"""An upload that every client sends, and the answer that a client received."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.events import read_events, text_of


@dataclass(frozen=True)
class Upload:
    """A picture and the other fields of a request to `/v1/ground`."""

    picture: Path
    fields: Mapping[str, str]

    @property
    def pairs(self) -> list[str]:
        """The fields as `name=value`."""
        return [f"{name}={value}" for name, value in self.fields.items()]


@dataclass(frozen=True)
class Answer:
    """The status and the decoded body of a response."""

    status: int
    text: str

    @property
    def content(self) -> Any:
        return json.loads(self.text)

    @property
    def streamed(self) -> Any:
        """The last event of a stream: the whole answer, which the streamed texts add up to."""
        events = list(read_events(self.text.splitlines()))
        assert events[-1].name == "done"
        answer = events[-1].data
        assert text_of(events) == answer["answer"]
        return answer


Client = Callable[[str, Upload], Answer]
"""Sends an upload to the service at a URL."""

"""The line that `kosmos2 serve` prints when it is ready: text on a terminal, otherwise JSON.

This module imports only the standard library, so that any program can use `read_ready`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Ready:
    """A service that is ready.

    Attributes:
        url: base URL of the service, without a path.
        ops_url: base URL of health and metrics, if they have a port of their own.
        example: shell command that sends a request.
    """

    url: str
    ops_url: str | None
    example: str

    def print_to(self, output: TextIO) -> None:
        """Print text if the output is a terminal, otherwise one line of JSON."""
        # Flushed, because a program that waits for this line reads it from a pipe.
        print(self._as_text() if output.isatty() else self._as_json(), file=output, flush=True)

    def _as_text(self) -> str:
        ops = "" if self.ops_url is None else f"Health and metrics at {self.ops_url}.\n"
        return f"{ops}{self._sentence}\n  {self.example}"

    def _as_json(self) -> str:
        message = f"{self._sentence} {self.example}"
        event = {"event": "ready", "url": self.url, "ops_url": self.ops_url, "message": message}
        return json.dumps(event)

    @property
    def _sentence(self) -> str:
        return f"Ready at {self.url}. Try:"


def read_ready(lines: Iterable[str]) -> str | None:
    """Read a service's standard output until the service is ready.

    >>> read_ready(['{"event": "ready", "url": "http://127.0.0.1:8000"}'])
    'http://127.0.0.1:8000'

    Args:
        lines: lines of the standard output, which must not be a terminal.

    Returns:
        The service's URL, or `None` if the lines end before it is ready.
    """
    for line in lines:
        event = json.loads(line)
        if event["event"] == "ready":
            return str(event["url"])
    return None

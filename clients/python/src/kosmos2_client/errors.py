"""Every error that this package raises on purpose.

Kosmos2ClientError
├── InvalidUrl               the URL of the service is not one of HTTP
├── InvalidPicture           the picture cannot be read or converted
├── ConnectionFailed         no connection, or it was cut before the answer was complete
├── InvalidAnswer            the answer is not that of a Kosmos-2 service
├── InvalidRunFile           a file of answers has a line that cannot be read
├── InvalidInput             another file or option of a command cannot be used
└── ServiceProblem           the service answered with an error
    ├── RequestRejected      4xx: the request has to change
    │   ├── Unauthorized     401: no key, or an unknown key
    │   └── RateLimited      429: the key has used up its requests
    └── ServiceFailure       5xx: the same request may succeed later
        └── Overloaded       503: full, starting, or restarting
"""

from collections.abc import Mapping
from typing import Any, Self


class Kosmos2ClientError(Exception):
    """Base class of all errors of this package."""


class InvalidUrl(Kosmos2ClientError, ValueError):
    """The URL of the service does not start with http:// or https://, or is invalid."""


class InvalidPicture(Kosmos2ClientError):
    """The picture cannot be read, or an object that is no picture was passed."""


class ConnectionFailed(Kosmos2ClientError):
    """There was no connection, or it was cut or timed out before the answer was complete."""


class InvalidAnswer(Kosmos2ClientError):
    """The answer lacks a field, or is not JSON: probably another program answered."""


class InvalidRunFile(Kosmos2ClientError):
    """A file of answers has a line that is not one of `kosmos2-client batch`."""


class InvalidInput(Kosmos2ClientError):
    """A file or an option that a command was given cannot be used."""


class ServiceProblem(Kosmos2ClientError):
    """The service answered with an error.

    Attributes:
        status: of the HTTP response; 0 for an error inside a stream of events.
        code: for programs, such as `invalid_image`; docs/errors.md lists them.
        detail: one sentence for people.
        retry_after_s: the wait that the service requires, in seconds; `None` without one.
        problem: the whole error as JSON.
    """

    def __init__(
        self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
    ) -> None:
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", "the answer has no description"))
        super().__init__(f"{status} {self.code}: {self.detail}")

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...], dict[str, Any]]:
        # Otherwise pickle would pass the message only, and a pool of processes would hang.
        arguments = (self.status, self.problem, self.retry_after_s)
        return type(self), arguments, self.__dict__


class RequestRejected(ServiceProblem):
    """A status of 400 to 499: the same request would fail again."""


class Unauthorized(RequestRejected):
    """The request has no API key, or an unknown key."""


class RateLimited(RequestRejected):
    """The key has used up its requests of this minute; the request may succeed later."""


class ServiceFailure(ServiceProblem):
    """A status of 500 to 599: the same request may succeed later."""


class Overloaded(ServiceFailure):
    """The service is full, starting, or restarting; nothing of the request was computed."""

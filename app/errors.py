"""Every error this project raises on purpose; `app/http/problems.py` tells the status of each.

    Kosmos2Error
    ├── RequestError                 the sender can mend it
    │   ├── Unauthorized             no key, or one that is not known
    │   ├── RateLimited              a key over its rate
    │   ├── InvalidRequest           a field, a box, a control token, a length
    │   ├── InvalidImage             not a picture, truncated, or its decoder failed
    │   ├── ImageTooLarge            more pixels than the limit
    │   ├── UnsupportedImageFormat   a picture, of a format that is not accepted
    │   ├── MalformedBody            the body is not what its type says
    │   ├── MalformedRequest         what came is not HTTP
    │   ├── HeadersTooLarge          more bytes in front of the body than the service reads
    │   ├── RequestTimeout           headers or body were not complete in time
    │   ├── PayloadTooLarge          more bytes than the limit
    │   ├── UnsupportedMediaType     a request of another content type
    │   ├── UnsupportedContentEncoding  a compressed body
    │   └── NotAcceptable            no representation of the answer is what `Accept` asks for
    ├── ServiceError                 the sender can only try again
    │   ├── Overloaded               the queue is full
    │   ├── Unavailable              starting, draining, or the engine is restarting
    │   ├── DeadlineExceeded         the request's time is over
    │   └── EngineFailure            the engine failed on this request
    ├── ClientLeft                   nobody waits for the answer any more
    └── StartupError                 the service cannot start
        ├── CheckpointError          missing, cut short, or a model of another kind
        ├── OutOfMemory              less memory or disk than the checkpoint needs
        └── AddressInUse             the port is taken

A message states the fact and the limit. It never holds a path of the machine, a `repr` or a
traceback, except for a `StartupError`, whose reader is the operator.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request.

    Args:
        field: the field's path as the sender wrote it, such as `regions[0].boxes[1]`.
        message: one sentence, with the limit.
    """

    field: str
    message: str


class Kosmos2Error(Exception):
    """The root of the tree."""


class RequestError(Kosmos2Error):
    """The request cannot be served as it is."""


class InvalidRequest(RequestError):
    """One or more fields are wrong.

    >>> str(InvalidRequest("text", "is required"))
    'text: is required'
    """

    def __init__(self, field: str, message: str, *others: FieldError) -> None:
        self.errors = (FieldError(field, message), *others)
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in self.errors))


class Unauthorized(RequestError):
    """The request carries no key, or one that is not known."""


class RateLimited(RequestError):
    """The key has made all the requests it may make for now.

    Args:
        retry_after_s: when it may make more, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class InvalidImage(RequestError):
    """The bytes are not a picture that can be decoded."""


class ImageTooLarge(RequestError):
    """The picture has more pixels than the service decodes."""


class UnsupportedImageFormat(RequestError):
    """The bytes are a picture, of a format that the service does not accept."""


class MalformedBody(RequestError):
    """The body is not what its content type says."""


class MalformedRequest(RequestError):
    """What came over the connection is not HTTP."""


class HeadersTooLarge(RequestError):
    """The request has more bytes in front of its body than the service reads."""


class RequestTimeout(RequestError):
    """The headers or the body were not complete in time."""


class PayloadTooLarge(RequestError):
    """The body has more bytes than the service reads."""


class UnsupportedMediaType(RequestError):
    """The body is of a content type that the route does not read."""


class UnsupportedContentEncoding(RequestError):
    """The body is compressed or encoded in another way."""


class NotAcceptable(RequestError):
    """The route gives no representation that the client takes."""


class ServiceError(Kosmos2Error):
    """The service cannot answer now."""


class Overloaded(ServiceError):
    """All waiting places are taken.

    Args:
        retry_after_s: when a place is likely to be free, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Unavailable(ServiceError):
    """The service is starting, draining, or its engine is restarting.

    Args:
        retry_after_s: when to try again, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DeadlineExceeded(ServiceError):
    """The request's time was over before its answer was complete."""


class EngineFailure(ServiceError):
    """The engine failed on this request."""


class ClientLeft(Kosmos2Error):
    """The client has closed its connection."""


class StartupError(Kosmos2Error):
    """The service cannot start.

    `exit_code` is what the process ends with (sysexits: 65 data, 71 system, 78 configuration).
    """

    exit_code = 78


class CheckpointError(StartupError):
    """The checkpoint is missing, cut short, or of another kind of model."""

    exit_code = 65


class OutOfMemory(StartupError):
    """Less memory or disk is free than the checkpoint needs."""

    exit_code = 71


class AddressInUse(StartupError):
    """The address to listen on is taken."""

    exit_code = 71

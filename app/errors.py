"""Every error this project raises on purpose; `app/http/problems.py` maps them to statuses.

    Kosmos2Error
    ├── RequestError                 the sender can correct the request
    │   ├── Unauthorized             no key, or an unknown key
    │   ├── RateLimited              a key above its rate
    │   ├── InvalidRequest           an invalid field, box, control token or length
    │   ├── UnknownModel             a name that no served model has
    │   ├── InvalidImage             not a picture, truncated, or its decoder failed
    │   ├── ImageTooLarge            more pixels than the limit
    │   ├── UnsupportedImageFormat   a picture in a format that is not accepted
    │   ├── MalformedBody            the body does not match its content type
    │   ├── MalformedRequest         the bytes on the connection are not HTTP
    │   ├── HeadersTooLarge          more header bytes than the service reads
    │   ├── RequestTimeout           headers or body incomplete when the time ran out
    │   ├── PayloadTooLarge          a body with more bytes than the limit
    │   ├── UnsupportedMediaType     a content type that the route does not read
    │   ├── UnsupportedContentEncoding  a compressed body
    │   └── NotAcceptable            no representation of the answer matches `Accept`
    ├── ServiceError                 the sender can only retry
    │   ├── Overloaded               the queue is full
    │   ├── Unavailable              starting, draining, or the engine is restarting
    │   ├── DeadlineExceeded         the request timed out
    │   └── EngineFailure            the engine failed on this request
    ├── ClientDisconnected           the client closed its connection
    └── StartupError                 the service cannot start
        ├── CheckpointError          missing, truncated, or another kind of model
        ├── OutOfMemory              less memory or disk than the checkpoint needs
        └── AddressInUse             the port is in use

A message states the fact and the limit. Only a `StartupError`, which the operator reads, may hold a
path of the machine, a `repr` or a traceback.
"""

from dataclasses import dataclass, replace

MAX_FIELD_CHARACTERS = 200


@dataclass(frozen=True)
class FieldError:
    """The mistake in one field of a request.

    Args:
        field: the field's path as the sender wrote it, such as `regions[0].boxes[1]`.
        message: one sentence that states the limit.
    """

    field: str
    message: str


def _shortened(error: FieldError) -> FieldError:
    """Bound the name of a field, which the sender chose: an answer repeats it."""
    if len(error.field) <= MAX_FIELD_CHARACTERS:
        return error
    return replace(error, field=error.field[:MAX_FIELD_CHARACTERS] + "…")


class Kosmos2Error(Exception):
    """Base class of all errors."""


class RequestError(Kosmos2Error):
    """The request cannot be served unless the sender corrects it."""


class InvalidRequest(RequestError):
    """One or more fields are wrong.

    >>> str(InvalidRequest("text", "is required"))
    'text: is required'

    Args:
        code: name of the mistake, for programs; `None`: that of all invalid requests.
    """

    def __init__(
        self, field: str, message: str, *others: FieldError, code: str | None = None
    ) -> None:
        self.code = code
        self.errors = tuple(map(_shortened, (FieldError(field, message), *others)))
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in self.errors))


class Unauthorized(RequestError):
    """The request has no API key, or an unknown key."""


class RateLimited(RequestError):
    """The key has used up its requests of this minute.

    Args:
        retry_after_s: until the next minute begins, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class UnknownModel(RequestError):
    """No served model has the requested name."""


class InvalidImage(RequestError):
    """The bytes are not a picture that can be decoded."""


class ImageTooLarge(RequestError):
    """The picture has more pixels than the service decodes."""


class UnsupportedImageFormat(RequestError):
    """The bytes are a picture in a format that the service does not accept."""


class MalformedBody(RequestError):
    """The body does not match its content type."""


class MalformedRequest(RequestError):
    """The bytes on the connection are not HTTP."""


class HeadersTooLarge(RequestError):
    """The request line and headers have more bytes than the service reads."""


class RequestTimeout(RequestError):
    """The headers or the body were incomplete when their time limit ended."""


class PayloadTooLarge(RequestError):
    """The body has more bytes than the service reads."""


class UnsupportedMediaType(RequestError):
    """The route does not read bodies of this content type."""


class UnsupportedContentEncoding(RequestError):
    """The body has a content encoding, such as gzip."""


class NotAcceptable(RequestError):
    """The route has no representation that the client accepts."""


class ServiceError(Kosmos2Error):
    """The service cannot answer now."""


class Overloaded(ServiceError):
    """The service has as many requests, or as many bytes of bodies, as it can hold.

    Args:
        retry_after_s: when capacity is likely to be free, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Unavailable(ServiceError):
    """The service is starting, draining, or its engine is restarting.

    Args:
        retry_after_s: when to retry, whole seconds ≥ 1.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DeadlineExceeded(ServiceError):
    """The request timed out before its answer was complete."""


class EngineFailure(ServiceError):
    """The engine failed on this request."""


class ClientDisconnected(Kosmos2Error):
    """The client has closed its connection."""


class StartupError(Kosmos2Error):
    """The service cannot start.

    `exit_code` is the exit status of the process (sysexits: 65 data, 71 system, 78 configuration).
    """

    exit_code = 78  # EX_CONFIG


class CheckpointError(StartupError):
    """The checkpoint is missing, truncated, or another kind of model."""

    exit_code = 65  # EX_DATAERR


class OutOfMemory(StartupError):
    """The machine has less free memory or disk space than the checkpoint needs."""

    exit_code = 71  # EX_OSERR


class AddressInUse(StartupError):
    """The address to listen on is in use."""

    exit_code = 71  # EX_OSERR

"""Client of a Kosmos-2 service: boxes for single pictures and for folders."""

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.client import Kosmos2
from kosmos2_client.entities import Box, Entity
from kosmos2_client.errors import (
    ConnectionFailed,
    InvalidAnswer,
    InvalidPicture,
    InvalidRunFile,
    InvalidUrl,
    Kosmos2ClientError,
    Overloaded,
    RateLimited,
    RequestRejected,
    ServiceFailure,
    ServiceProblem,
    Unauthorized,
)
from kosmos2_client.events import Done, Event, NewEntity, NewText
from kosmos2_client.results import (
    ClassPresence,
    Detections,
    Grounding,
    Image,
    Prediction,
    Result,
)
from kosmos2_client.retries import RetryPolicy
from kosmos2_client.tasks import Task

__all__ = [
    "AsyncKosmos2",
    "Box",
    "ClassPresence",
    "ConnectionFailed",
    "Detections",
    "Done",
    "Entity",
    "Event",
    "Grounding",
    "Image",
    "InvalidAnswer",
    "InvalidPicture",
    "InvalidRunFile",
    "InvalidUrl",
    "Kosmos2",
    "Kosmos2ClientError",
    "NewEntity",
    "NewText",
    "Overloaded",
    "Prediction",
    "RateLimited",
    "RequestRejected",
    "Result",
    "RetryPolicy",
    "ServiceFailure",
    "ServiceProblem",
    "Task",
    "Unauthorized",
]

"""Messages between HTTP processes and the engine.

A message is one MessagePack frame. After a `HoldPicture`, and after a `Generate` that names no held
picture, a frame with the picture's 224×224×3 bytes (RGB, row-major) follows.
Every message has the epoch of its engine. The supervisor increments the epoch at each start of an
engine, and receivers drop messages of earlier epochs.
"""

from typing import Literal

import msgspec

from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.settings import MAX_SLOTS

MAX_NAMED_TOKENS = 8
"""Largest number of tokens whose probabilities one request receives."""

FinishReason = Literal["stop", "length"]
FailureReason = Literal["deadline", "overloaded", "engine_failure"]
Priority = Literal["interactive", "batch"]
"""Interactive requests run first, and a quarter of the slots and permits is theirs alone."""


class SamplingParameters(msgspec.Struct, frozen=True, array_like=True):
    """Options for the choice of tokens.

    Attributes:
        max_new_tokens: largest number of tokens to generate, including the end token.
        no_repeat_ngram_size: no n-gram of this size occurs twice in prompt and answer; 0: off.
        temperature: 0 chooses the most probable token; above 0, logits are divided by it.
        top_k: draw only from the k most probable tokens; 0: from all.
        top_p: draw only from the most probable tokens that together reach p; 1: from all.
        seed: seed of the draws, used if temperature is above 0.
        stop_token_ids: tokens after which generation ends, like after the end token.
        named_token_ids: tokens whose log-probabilities are sent with the first new token; at most
            `MAX_NAMED_TOKENS`.
    """

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop_token_ids: list[int] = []
    named_token_ids: list[int] = []


class HoldPicture(msgspec.Struct, frozen=True, array_like=True, tag="hold"):
    """Keeps a picture at the engine for several requests, until `ReleasePicture` or the deadline.

    The engine encodes the picture once, even if its cache of pictures is too small for it.

    Attributes:
        key: name of the picture between this HTTP process and the engine.
        digest: SHA-256 of the picture's bytes.
        deadline: seconds on the machine's monotonic clock.
    """

    epoch: int
    key: int
    digest: bytes
    deadline: float


class ReleasePicture(msgspec.Struct, frozen=True, array_like=True, tag="release"):
    """Ends the hold of a picture; requests that already arrived keep it."""

    epoch: int
    key: int


class Generate(msgspec.Struct, frozen=True, array_like=True, tag="generate"):
    """A request for tokens.

    Attributes:
        epoch: epoch of the engine that should receive it.
        key: name of the request between this HTTP process and the engine.
        token_ids: the whole prompt, including the 67 tokens of the prefix.
        picture_digest: SHA-256 of the picture's bytes.
        deadline: seconds on the machine's monotonic clock.
        new_token_ids: tokens that dead engines generated; the answer continues after them.
        max_running: largest number of sequences that may run together with this one, itself
            included; limited after an engine died while this request ran (docs/adr/0011).
        is_replay: whether an earlier engine had this request.
        held_picture: key of a held picture; `None` if the picture follows in a frame.
        group: key that all rows of one HTTP request share. Waiting groups alternate, row by row.
        priority: of the HTTP request.
    """

    epoch: int
    key: int
    token_ids: list[int]
    picture_digest: bytes
    sampling: SamplingParameters
    deadline: float
    new_token_ids: list[int] = []
    max_running: int = MAX_SLOTS
    is_replay: bool = False
    held_picture: int | None = None
    group: int | None = None
    priority: Priority = "interactive"


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Cancels a request: the engine releases its slot by the next step."""

    epoch: int
    key: int


class LocationDistribution(msgspec.Struct, frozen=True, array_like=True):
    """The most probable cells at the position of a location token, in any order.

    Attributes:
        cells: indices in the grid, little-endian uint16.
        probabilities: of these cells among all cells at temperature 1, before the n-gram ban and
            any filter; little-endian float32.
    """

    cells: bytes
    probabilities: bytes


class NewToken(msgspec.Struct, frozen=True, array_like=True):
    """One token of one request.

    Attributes:
        key: key of the request.
        log_probability: natural logarithm of the float32 softmax over the whole vocabulary at
            temperature 1, before the n-gram ban and any filter.
        finish_reason: `stop` (end token), `length` (limit), or `None` before the last token.
        queue_s: seconds from the request's arrival at the engine to its start.
        cached_tokens: prompt tokens whose keys and values were cached when it got its slot.
        vision_s: seconds that the batch of its picture was in the vision tower; 0 if the picture
            was cached.
        location: distribution over cells if the token is a location token, otherwise `None`.
        named_log_probabilities: of the request's named tokens, in their order, computed like
            `log_probability`; empty after the first new token.
    """

    key: int
    token_id: int
    log_probability: float
    finish_reason: FinishReason | None
    queue_s: float
    cached_tokens: int
    vision_s: float = 0.0
    location: LocationDistribution | None = None
    named_log_probabilities: list[float] = []


class NewTokens(msgspec.Struct, frozen=True, array_like=True, tag="tokens"):
    """The tokens of one step for one HTTP process; those of a request in their order."""

    epoch: int
    tokens: list[NewToken]


class Failure(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Ends a request without an answer."""

    epoch: int
    key: int
    reason: FailureReason


ToEngine = Generate | Cancel | HoldPicture | ReleasePicture
FromEngine = NewTokens | Failure

encode = msgspec.msgpack.Encoder().encode
decode_to_engine = msgspec.msgpack.Decoder(ToEngine).decode
decode_from_engine = msgspec.msgpack.Decoder(FromEngine).decode

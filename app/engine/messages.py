"""What HTTP processes and the engine say to each other: all that both sides share.

A message is one MessagePack frame; a `Generate` is followed by a frame with the picture's bytes.
Every message carries the epoch of the engine it belongs to: the supervisor counts epochs up at
each start of the engine, and whoever receives an older one drops it.
"""

from typing import Literal

import msgspec

PICTURE_SIDE = 224
PICTURE_BYTES = PICTURE_SIDE * PICTURE_SIDE * 3

FinishReason = Literal["stop", "length"]
FailureReason = Literal["deadline", "overloaded", "engine_failure"]


class SamplingParameters(msgspec.Struct, frozen=True, array_like=True):
    """How tokens are chosen.

    Attributes:
        max_new_tokens: tokens to generate at most, the end token included.
        no_repeat_ngram_size: no n-gram occurs twice in prompt and answer together; 0: off.
        temperature: 0 takes the most probable token; above, probabilities are sharpened by it.
        top_k: only the k most probable tokens; 0: all.
        top_p: only the most probable tokens that together reach p; 1: all.
        seed: with temperature above 0, the answer depends on it alone.
    """

    max_new_tokens: int = 128
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


class Generate(msgspec.Struct, frozen=True, array_like=True, tag="generate"):
    """A request for tokens; the picture's 224×224×3 bytes (RGB, row-major) follow in a frame.

    Attributes:
        epoch: of the engine that is meant.
        key: names the request between this HTTP process and the engine.
        token_ids: the whole prompt, the picture's 67 places included.
        picture_digest: SHA-256 of the picture's bytes.
        sampling: how tokens are chosen.
        deadline: on the machine's monotonic clock, seconds.
    """

    epoch: int
    key: int
    token_ids: list[int]
    picture_digest: bytes
    sampling: SamplingParameters
    deadline: float


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """The client has left: the request's place is to be free by the next step."""

    epoch: int
    key: int


class NewToken(msgspec.Struct, frozen=True, array_like=True):
    """One token of one request.

    Attributes:
        key: the request.
        token_id: the token.
        log_probability: natural logarithm, float32 softmax over the whole vocabulary at
            temperature 1, before the n-gram ban and any filter.
        finish_reason: `stop` (the end token), `length` (the limit), or none: more will come.
        queue_s: seconds the request waited for a slot.
        cached_tokens: prompt tokens whose keys and values were at hand.
    """

    key: int
    token_id: int
    log_probability: float
    finish_reason: FinishReason | None
    queue_s: float
    cached_tokens: int


class NewTokens(msgspec.Struct, frozen=True, array_like=True, tag="tokens"):
    """The tokens of one step for one HTTP process."""

    epoch: int
    tokens: list[NewToken]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """A request that ends without an answer."""

    epoch: int
    key: int
    reason: FailureReason


class EngineStopped(msgspec.Struct, frozen=True, array_like=True, tag="stopped"):
    """From the supervisor to HTTP processes: this epoch's engine is gone, and its requests."""

    epoch: int


ToEngine = Generate | Cancel
FromEngine = NewTokens | Failed | EngineStopped

encode = msgspec.msgpack.Encoder().encode
decode_to_engine = msgspec.msgpack.Decoder(ToEngine).decode
decode_from_engine = msgspec.msgpack.Decoder(FromEngine).decode

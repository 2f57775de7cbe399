"""Requests in an HTTP process, with all data to send them to another engine after a crash."""

import asyncio
from dataclasses import dataclass, field

from app.errors import EngineFailure, Kosmos2Error
from app.ipc.engine_messages import Generate, NewToken, Priority, SamplingParameters
from app.settings import MAX_SLOTS

MAX_LONE_DEATHS = 2


@dataclass(eq=False)
class HeldPicture:
    """A picture that the engine keeps for several prompts.

    Attributes:
        key: name of the picture in this service.
        pixels: 224×224×3 bytes.
        digest: SHA-256 of `pixels`.
        deadline: seconds on the monotonic clock.
        epoch: epoch of the engine that has the picture; 0 before it was sent.
    """

    key: int
    pixels: bytes
    digest: bytes
    deadline: float
    epoch: int = 0


@dataclass(frozen=True)
class Prompt:
    """A prompt that the engine continues.

    Attributes:
        token_ids: all tokens, including those that stand for the picture.
        pixels: the picture, 224×224×3 bytes.
        picture_digest: SHA-256 of `pixels`.
        held_picture: the same picture, if the engine keeps it.
        group: key that all prompts of one HTTP request share; `None` for a single prompt.
        priority: of the HTTP request.
    """

    token_ids: list[int]
    pixels: bytes
    picture_digest: bytes
    held_picture: HeldPicture | None = None
    group: int | None = None
    priority: Priority = "interactive"


@dataclass(eq=False)
class PendingRequest:
    """A request from its admission to its last token or its error.

    Attributes:
        key: name of the request in this service.
        deadline: seconds on the monotonic clock.
        epoch: epoch of the engine that has the request; 0 before it was sent.
        new_token_ids: tokens generated so far, by this engine and earlier ones.
        max_running: largest number of sequences that may run together with it, itself included.
        num_lone_deaths: number of engines that died while it ran alone.
        is_over: whether it has its last token or its error, or was cancelled.
        events: tokens or the error that its caller has not read yet.
    """

    key: int
    prompt: Prompt
    sampling: SamplingParameters
    deadline: float
    epoch: int = 0
    new_token_ids: list[int] = field(default_factory=list)
    max_running: int = MAX_SLOTS
    num_lone_deaths: int = 0
    is_over: bool = False
    events: asyncio.Queue[NewToken | Kosmos2Error] = field(default_factory=asyncio.Queue)

    def message_for(self, epoch: int) -> Generate:
        """Return the message for the engine of `epoch`, which continues after earlier tokens."""
        is_replay, self.epoch = self.epoch > 0, epoch
        held = self.prompt.held_picture
        return Generate(
            epoch,
            self.key,
            self.prompt.token_ids,
            self.prompt.picture_digest,
            self.sampling,
            self.deadline,
            self.new_token_ids,
            self.max_running,
            is_replay,
            None if held is None else held.key,
            self.prompt.group,
            self.prompt.priority,
        )

    def add_token(self, new_token: NewToken) -> None:
        """Queue the next token for its caller, unless the request is over."""
        if self.is_over:
            return
        self.new_token_ids.append(new_token.token_id)
        self.is_over = new_token.finish_reason is not None
        self.events.put_nowait(new_token)

    def end(self, error: Kosmos2Error) -> None:
        """Queue an error for its caller, unless the request is over."""
        if not self.is_over:
            self.is_over = True
            self.events.put_nowait(error)

    def mark_suspect(self, num_running: int) -> None:
        """Halve the batch limit after an engine died; end the request after two deaths alone.

        Args:
            num_running: number of requests that ran when the engine died, this one included.
        """
        self.max_running = max(1, num_running // 2)
        self.num_lone_deaths += num_running == 1
        if self.num_lone_deaths == MAX_LONE_DEATHS:
            self.end(EngineFailure("the engine died twice while this request ran alone"))

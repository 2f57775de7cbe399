"""A request as its HTTP process holds it: enough to ask another engine when this one dies."""

import asyncio
from dataclasses import dataclass, field

from app.errors import EngineFailure, Kosmos2Error
from app.ipc.engine_messages import Generate, NewToken, SamplingParameters
from app.settings import MAX_SLOTS

MAX_LONE_DEATHS = 2


@dataclass(frozen=True)
class Prompt:
    """What the engine continues.

    Attributes:
        token_ids: all of them, the picture's places included.
        pixels: the picture, 224×224×3 bytes.
        picture_digest: SHA-256 of `pixels`.
    """

    token_ids: list[int]
    pixels: bytes
    picture_digest: bytes


@dataclass(eq=False)
class PendingRequest:
    """A request from its admission to its last token or its error.

    Attributes:
        key: names it in this service.
        prompt: what to continue.
        sampling: how tokens are chosen.
        deadline: on the monotonic clock, seconds.
        epoch: of the engine that has it; 0: none had it yet.
        new_token_ids: generated so far, by this engine or by others before it.
        max_running: as many sequences may run beside it, itself included.
        num_lone_deaths: engines that died while it ran alone.
        is_over: whether nothing more is wanted or will come.
        events: what its caller has not taken yet.
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
        """What asks the engine of that epoch to begin, or to go on where another one died."""
        is_replay, self.epoch = self.epoch > 0, epoch
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
        )

    def take(self, new_token: NewToken) -> None:
        """Hand its caller the next token, unless it is over."""
        if self.is_over:
            return
        self.new_token_ids.append(new_token.token_id)
        self.is_over = new_token.finish_reason is not None
        self.events.put_nowait(new_token)

    def end(self, error: Kosmos2Error) -> None:
        """Hand its caller an error, unless it is over."""
        if not self.is_over:
            self.is_over = True
            self.events.put_nowait(error)

    def suspect(self, num_running: int) -> None:
        """An engine died while this ran, among so many: let it run among half of them.

        One that ran alone twice ends here: what else should it have been?
        """
        self.max_running = max(1, num_running // 2)
        self.num_lone_deaths += num_running == 1
        if self.num_lone_deaths == MAX_LONE_DEATHS:
            self.end(EngineFailure("the engine died twice while this request ran alone"))

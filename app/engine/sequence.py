"""One request inside the engine: its prompt, its state and its tokens so far."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.engine.grammar import DraftNext
from app.engine.sampling import NO_TOKEN, RowOptions, noise_keys
from app.ipc.engine_messages import FinishReason, Generate


@dataclass(eq=False)
class Sequence:
    """A request from its arrival to its last token.

    Attributes:
        client: ZeroMQ identity of the HTTP process that sent the request.
        pixels: the picture, 224×224×3 bytes.
        arrived_at: arrival, seconds on the monotonic clock.
        started_at: time at which it began to run, seconds on the monotonic clock; 0 before.
        first_token_at: time of its first token, seconds on the monotonic clock; 0 before.
        slot: index of its slot; `None` before the prefill.
        num_cached_tokens: prompt tokens whose keys and values were cached.
        vision_s: seconds that its picture was in the vision tower.
        finish_reason: reason for the last token; `None` before it.
        new_token_ids: tokens generated so far, including those of engines that died.
        max_running: largest number of sequences that may run together with it, itself included.
        turn: position in the queue among others of its priority, set by the scheduler.
        is_requeued: whether it ran in a pass that failed, and starts before all others.
    """

    client: bytes
    request: Generate
    pixels: bytes
    arrived_at: float
    started_at: float = 0.0
    first_token_at: float = 0.0
    slot: int | None = None
    num_cached_tokens: int = 0
    vision_s: float = 0.0
    finish_reason: FinishReason | None = None
    new_token_ids: list[int] = field(init=False)
    max_running: int = field(init=False)
    turn: int = field(init=False, default=0)
    is_requeued: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Continue after the tokens that earlier engines generated."""
        self.new_token_ids = list(self.request.new_token_ids)
        self.max_running = self.request.max_running

    @property
    def name(self) -> tuple[bytes, int]:
        """Unique name among all requests of the engine."""
        return self.client, self.request.key

    @property
    def group(self) -> tuple[bytes, int]:
        """Name of the HTTP request whose row it is; a lone row is a group of its own."""
        group = self.request.group
        return self.client, self.request.key if group is None else group

    @property
    def is_row(self) -> bool:
        """Whether it is one of several rows of an HTTP request."""
        return self.request.group is not None

    @property
    def held_slot(self) -> int:
        """Index of its slot.

        Raises:
            RuntimeError: the sequence holds no slot.
        """
        if self.slot is None:
            raise RuntimeError("a sequence in a pass holds no slot")
        return self.slot

    @property
    def num_prompt_tokens(self) -> int:
        """Number of prompt tokens, including those of the picture."""
        return len(self.request.token_ids)

    @property
    def token_ids(self) -> list[int]:
        """Tokens of the prompt and of the answer so far."""
        return self.request.token_ids + self.new_token_ids

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the prompt and of the answer so far."""
        return self.num_prompt_tokens + len(self.new_token_ids)

    @property
    def named_token_ids(self) -> list[int]:
        """Tokens whose log-probabilities its next token brings; only the first one brings any."""
        return [] if self.new_token_ids else self.request.sampling.named_token_ids

    @property
    def is_batch(self) -> bool:
        """Whether interactive sequences start before it."""
        return self.request.priority == "batch"

    @property
    def is_finished(self) -> bool:
        """Whether generation has ended."""
        return self.finish_reason is not None

    @cached_property
    def _noise_keys(self) -> np.ndarray:
        return noise_keys(self.request.sampling.seed, self.request.sampling.max_new_tokens)

    def draft(self, draft_next: DraftNext, end_token_ids: Collection[int]) -> int:
        """Return the token that probably follows, or `NO_TOKEN` if no token may follow it."""
        sampling = self.request.sampling
        if len(self.new_token_ids) + 2 > sampling.max_new_tokens:
            return NO_TOKEN
        draft = draft_next(self.token_ids, (*end_token_ids, *sampling.stop_token_ids))
        return NO_TOKEN if draft is None else draft

    def row_options(self, draft: int = NO_TOKEN) -> RowOptions:
        """Return the options for its next token and the one after it, with their noise keys."""
        sampling = self.request.sampling
        keys = later_keys = (0, 0)
        if sampling.temperature > 0:
            index = len(self.new_token_ids)
            keys = self._noise_keys[index].tolist()
            later_keys = later_keys if draft == NO_TOKEN else self._noise_keys[index + 1].tolist()
        return RowOptions(
            self.num_tokens,
            sampling.no_repeat_ngram_size,
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            *keys,
            draft,
            *later_keys,
        )

    def append(self, token_id: int, is_end: Callable[[int], bool]) -> None:
        """Append the next token, and set the finish reason if it is the last one."""
        self.new_token_ids.append(token_id)
        if is_end(token_id) or token_id in self.request.sampling.stop_token_ids:
            self.finish_reason = "stop"
        elif len(self.new_token_ids) == self.request.sampling.max_new_tokens:
            self.finish_reason = "length"

"""One request inside the engine: what came in, where it stands, what it has so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.engine.sampling import RowOptions, noise_keys
from app.ipc.engine_messages import FinishReason, Generate


@dataclass(eq=False)
class Sequence:
    """A request from its arrival to its last token.

    Attributes:
        client: the HTTP process that sent it.
        request: as it came.
        pixels: the picture, 224×224×3 bytes.
        arrived_at: on the monotonic clock, seconds.
        started_at: when it began to run.
        first_token_at: when its first token was there.
        slot: from its prefill on, while it runs.
        num_cached_tokens: prompt tokens whose keys and values were at hand.
        vision_s: seconds that its picture was in the vision tower.
        finish_reason: set by the last token.
        new_token_ids: generated so far, those of engines that died included.
        max_running: as many sequences may run beside it, itself included.
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

    def __post_init__(self) -> None:
        """Go on where another engine has died."""
        self.new_token_ids = list(self.request.new_token_ids)
        self.max_running = self.request.max_running

    @property
    def name(self) -> tuple[bytes, int]:
        """What tells it from all others."""
        return self.client, self.request.key

    @property
    def held_slot(self) -> int:
        """The slot that it runs in.

        Raises:
            RuntimeError: it holds none.
        """
        if self.slot is None:
            raise RuntimeError("a sequence to run holds no slot")
        return self.slot

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the prompt, those of the picture included."""
        return len(self.request.token_ids)

    @property
    def token_ids(self) -> list[int]:
        """Prompt and answer so far."""
        return self.request.token_ids + self.new_token_ids

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and answer so far."""
        return self.num_prompt_tokens + len(self.new_token_ids)

    @property
    def is_finished(self) -> bool:
        """Whether the last token was the last."""
        return self.finish_reason is not None

    @cached_property
    def _noise_keys(self) -> np.ndarray:
        return noise_keys(self.request.sampling.seed, self.request.sampling.max_new_tokens)

    @property
    def row_options(self) -> RowOptions:
        """How the next token is chosen, with the noise key that belongs to it."""
        sampling = self.request.sampling
        is_sampled = sampling.temperature > 0
        keys = self._noise_keys[len(self.new_token_ids)].tolist() if is_sampled else (0, 0)
        return RowOptions(
            self.num_tokens,
            sampling.no_repeat_ngram_size,
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            *keys,
        )

    def append(self, token_id: int, is_end: Callable[[int], bool]) -> None:
        """Take the next token, which may be the last."""
        self.new_token_ids.append(token_id)
        if is_end(token_id):
            self.finish_reason = "stop"
        elif len(self.new_token_ids) == self.request.sampling.max_new_tokens:
            self.finish_reason = "length"

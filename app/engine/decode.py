"""The pass that decodes: one more token for every row, from fixed inputs to fixed outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.engine.kv_slots import KVSlots, SlotRows
from app.engine.sampling import RowOptions, choose_next
from app.model.loading import Kosmos2Model


@dataclass(frozen=True)
class PassShape:
    """What makes one pass another kernel's work than the next.

    Attributes:
        first_row: the first slot of the pass.
        num_rows: slots side by side; free ones among them are computed too.
        length: tokens from the beginning of each slot that rows may look at.
        max_ngram_size: at least the largest n-gram ban among the rows, 0: none.
        is_sampled: false when every row is greedy.
    """

    first_row: int
    num_rows: int
    length: int
    max_ngram_size: int
    is_sampled: bool

    @classmethod
    def of(cls, first_row: int, options: Sequence[RowOptions]) -> "PassShape":
        """What rows from `first_row` on need.

        >>> PassShape.of(2, [RowOptions(num_tokens=80), RowOptions()])
        PassShape(first_row=2, num_rows=2, length=80, max_ngram_size=0, is_sampled=False)
        """
        return cls(
            first_row=first_row,
            num_rows=len(options),
            length=max(row.num_tokens for row in options),
            max_ngram_size=max(row.no_repeat_ngram_size for row in options),
            is_sampled=any(row.temperature for row in options),
        )


class TokenStep:
    """Chooses the next token of rows side by side, and puts it into their slots.

    All it reads and writes stays where it is, and nothing of it depends on the host, so that a
    CUDA graph can do the same again.

    Args:
        model: loaded.
        slots: where the rows are.
    """

    def __init__(self, model: Kosmos2Model, slots: KVSlots) -> None:
        self._decoder, self._slots = model.decoder, slots
        device = model.device
        self._idle = torch.tensor(RowOptions(), dtype=torch.float64)  # (7,)
        staged = self._idle.repeat(slots.num_slots, 1)  # (S, 7)
        self._staged = staged.pin_memory() if device.type == "cuda" else staged
        self._options = staged if device.type == "cpu" else staged.to(device)
        self._numbers = torch.arange(slots.num_slots, device=device)
        self._places = torch.arange(slots.max_length, device=device)
        self._chosen = torch.zeros(2, slots.num_slots, dtype=torch.float64, device=device)

    def stage(self, first_row: int, options: Sequence[RowOptions]) -> None:
        """Write what the next pass is to do with each of its rows: one copy to the device."""
        last = first_row + len(options)
        self._staged[first_row:last] = torch.tensor(options, dtype=torch.float64)
        self._staged[last:] = self._idle  # rounded up, a pass goes on into slots that are free
        if self._options is not self._staged:
            self._options.copy_(self._staged, non_blocking=True)

    def __call__(self, size: PassShape) -> None:
        """Compute the pass that is staged."""
        rows = slice(size.first_row, size.first_row + size.num_rows)
        options = self._options[rows]
        lengths = options[:, :1].long()  # (R, 1)
        token_ids = self._slots.token_ids[rows]  # (R, L)
        logits = self._decoder.logits(self._run(rows, token_ids, lengths - 1, size.length))
        held = token_ids[:, : size.length]
        tokens, logarithms = choose_next(
            logits, held, options, size.max_ngram_size, size.is_sampled
        )
        token_ids.scatter_(1, lengths, tokens[:, None])
        self._chosen[0, rows], self._chosen[1, rows] = tokens, logarithms

    def _run(self, rows: slice, token_ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """The last tokens of rows at their positions (R, 1): hidden states (R, d)."""
        kept = SlotRows(self._slots, rows, self._numbers[rows], positions, length)
        embedded = self._decoder.embed(token_ids.gather(1, positions), positions)
        mask = causal_mask(self._places[:length], positions, embedded.dtype)
        hidden: Tensor = self._decoder(embedded, kept, mask)
        return hidden[:, 0]

    def read(self, first_row: int, num_rows: int) -> tuple[list[float], list[float]]:
        """The tokens and their logarithms of the last pass: one copy to the host, which waits."""
        chosen = self._chosen[:, first_row : first_row + num_rows]
        tokens, logarithms = chosen.tolist()
        return tokens, logarithms


def causal_mask(places: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """Added to scores, it lets queries at `positions` (R, T) see `places` (L,) up to their own.

    >>> causal_mask(torch.arange(3), torch.tensor([[1]]), torch.float32).tolist()
    [[[[0.0, 0.0, -inf]]]]

    Returns:
        (R, 1, T, L).
    """
    is_later = places > positions[:, None, :, None]
    return torch.zeros(is_later.shape, dtype=dtype, device=places.device).masked_fill_(
        is_later, -torch.inf
    )

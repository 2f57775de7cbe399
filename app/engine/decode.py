"""The decode pass: chooses one or two more tokens for every row, on tensors that stay in place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.engine.cells import CellLogits
from app.engine.drafts import choose_verified, drafts_of, store_tokens
from app.engine.kv_slots import KVSlots, SlotRows
from app.engine.sampling import RowOptions
from app.model.decoder import KEYS_MULTIPLE
from app.model.loading import Kosmos2Model


@dataclass(frozen=True)
class PassShape:
    """Shape of a pass: passes of the same shape run the same kernels.

    Attributes:
        first_row: index of the first slot.
        num_rows: number of adjacent slots; free slots among them are computed too.
        length: number of tokens, from the beginning of each slot, that rows may attend to.
        max_ngram_size: at least the largest n-gram size that a row bans; 0 if no row bans any.
        is_sampled: false if every row is greedy.
        has_drafts: whether the pass reads the draft of every row after its last token.
    """

    first_row: int
    num_rows: int
    length: int
    max_ngram_size: int
    is_sampled: bool
    has_drafts: bool = False

    @classmethod
    def of(
        cls, first_row: int, options: Sequence[RowOptions], has_drafts: bool = False
    ) -> "PassShape":
        """Return the shape that rows from `first_row` on require.

        >>> rows = [RowOptions(num_tokens=80), RowOptions(no_repeat_ngram_size=3)]
        >>> shape = PassShape.of(2, rows, has_drafts=True)
        >>> shape.first_row, shape.num_rows, shape.length, shape.max_ngram_size
        (2, 2, 81, 3)
        """
        return cls(
            first_row=first_row,
            num_rows=len(options),
            length=max(row.num_tokens for row in options) + has_drafts,
            max_ngram_size=max(row.no_repeat_ngram_size for row in options),
            is_sampled=any(row.temperature for row in options),
            has_drafts=has_drafts,
        )


class TokenStep:
    """Chooses the next tokens of adjacent rows and writes them into their slots.

    All inputs and outputs keep their addresses and no step depends on the host, so that a CUDA
    graph can replay the pass.

    Args:
        cells: receives the logits of the cells of each row.
    """

    def __init__(self, model: Kosmos2Model, slots: KVSlots, cells: CellLogits) -> None:
        self._model, self._decoder = model, model.decoder
        self._slots, self._cells = slots, cells
        device = model.device
        self._idle = torch.tensor(RowOptions(), dtype=torch.float64)  # (10,)
        staged = self._idle.repeat(slots.num_slots, 1)  # (S, 10)
        self._staged = staged.pin_memory() if device.type == "cuda" else staged
        self._options = staged if device.type == "cpu" else staged.to(device)
        self._numbers = torch.arange(slots.num_slots, device=device)
        self._indices = torch.arange(slots.max_length, device=device)
        # Tokens and log-probabilities of each slot's first and second token.
        self._chosen = torch.zeros(2, 2, slots.num_slots, dtype=torch.float64, device=device)

    def stage(self, first_row: int, options: Sequence[RowOptions]) -> None:
        """Write the options of each row of the next pass, with one copy to the device."""
        last = first_row + len(options)
        self._staged[first_row:last] = torch.tensor(options, dtype=torch.float64)
        self._staged[last:] = self._idle  # a rounded pass includes free slots
        self._options.copy_(self._staged, non_blocking=True)  # on a CPU, both are one tensor

    def __call__(self, shape: PassShape) -> None:
        """Compute the staged pass."""
        rows = slice(shape.first_row, shape.first_row + shape.num_rows)
        numbers, options = self._numbers[rows], self._options[rows]
        token_ids = self._slots.token_ids[rows]  # (R, L)
        lengths = options[:, 0].long()  # (R,)
        positions = lengths[:, None] - 1  # (R, T)
        if shape.has_drafts:
            positions = torch.cat([positions, lengths[:, None]], dim=1)
            token_ids.scatter_(1, lengths[:, None], drafts_of(options)[:, None])
        hidden = self._run(rows, token_ids, positions, shape.length)
        logits = self._decoder.logits(hidden.flatten(0, 1)).view(*hidden.shape[:2], -1)
        self._cells.store(rows, logits)
        tokens, logarithms = choose_verified(
            logits, token_ids[:, : shape.length], options, shape.max_ngram_size, shape.is_sampled
        )
        store_tokens(self._slots, numbers, lengths, tokens)
        chosen = self._chosen[:, : tokens.shape[1], rows]  # (2, T, R)
        chosen[0], chosen[1] = tokens.t(), logarithms.t()

    def _run(self, rows: slice, token_ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """Return the hidden states (R, T, d) of the tokens at `positions` (R, T)."""
        num_keys = round_up_keys(length, self._model)
        kept = SlotRows(self._slots, rows, self._numbers[rows], positions, num_keys)
        embedded = self._decoder.embed(token_ids.gather(1, positions), positions)
        mask = causal_mask(self._indices[:num_keys], positions, embedded.dtype)
        hidden: Tensor = self._decoder(embedded, kept, mask)
        return hidden

    def read(self, shape: PassShape) -> tuple[list[list[float]], list[list[float]]]:
        """Return tokens and log-probabilities of the last pass; wait for one copy to the host.

        Args:
            shape: the required shape of that pass.

        Returns:
            A list per row for the first token, and with drafts another for the second one.
        """
        rows = slice(shape.first_row, shape.first_row + shape.num_rows)
        tokens, logarithms = self._chosen[:, : 1 + shape.has_drafts, rows].tolist()
        return tokens, logarithms


def round_up_keys(length: int, model: Kosmos2Model) -> int:
    """Return the number of keys to attend to, for rows of up to so many tokens.

    With 8-bit weights it must be such that the longest row of a pass changes no other row.
    """
    multiple = KEYS_MULTIPLE if model.is_quantized else 1
    return -(-length // multiple) * multiple


def causal_mask(key_positions: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask that, added to scores, hides the keys after each query's own position.

    >>> causal_mask(torch.arange(3), torch.tensor([[1]]), torch.float32).tolist()
    [[[[0.0, 0.0, -inf]]]]

    Args:
        key_positions: positions of the keys, (L,).
        positions: positions of the queries, (R, T).

    Returns:
        (R, 1, T, L).
    """
    is_later = key_positions > positions[:, None, :, None]
    return torch.zeros(is_later.shape, dtype=dtype, device=key_positions.device).masked_fill_(
        is_later, -torch.inf
    )

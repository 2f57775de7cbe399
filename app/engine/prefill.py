"""The pass over prompts, behind the prefixes of their pictures: the first new token of each."""

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from app.engine.decode import PassShape, causal_mask
from app.engine.kv_slots import KVSlots, SlotRows
from app.engine.sampling import choose_next
from app.engine.sequence import Sequence
from app.model.loading import Kosmos2Model


class PromptPass:
    """Fills slots from prompts, side by side, and chooses the token that follows each.

    Args:
        model: loaded.
        slots: with the prefixes of the pictures in their places.
    """

    def __init__(self, model: Kosmos2Model, slots: KVSlots) -> None:
        self._decoder, self._slots, self._device = model.decoder, slots, model.device
        self._begin = len(model.prefix_token_ids)
        self._places = torch.arange(slots.max_length, device=model.device)

    def __call__(self, sequences: Rows[Sequence]) -> tuple[list[float], list[float]]:
        """The token of each sequence and its logarithm; the slots of sequences ascend."""
        slots = self._tensor([sequence.held_slot for sequence in sequences])  # (R,)
        logits = self._decoder.logits(self._run(sequences, slots))
        options = [sequence.row_options for sequence in sequences]
        size = PassShape.of(0, options)
        rows = torch.tensor(options, dtype=torch.float64).to(self._device)  # (R, 7)
        held = self._slots.token_ids[slots, : size.length]  # (R, L)
        chosen = choose_next(logits, held, rows, size.max_ngram_size, size.is_sampled)
        self._slots.token_ids[slots, rows[:, 0].long()] = chosen[0]
        tokens, logarithms = torch.stack([each.double() for each in chosen]).tolist()  # one copy
        return tokens, logarithms

    def _run(self, sequences: Rows[Sequence], slots: Tensor) -> Tensor:
        """The last hidden state of each prompt, (R, d).

        Shorter rows are filled up on the right. What the filling leaves in a slot lies beyond the
        row's length: it is masked here, and overwritten by the tokens that come.
        """
        length, begin = max(s.num_tokens for s in sequences), self._begin
        filled = [s.token_ids + [0] * (length - s.num_tokens) for s in sequences]
        token_ids = self._tensor(filled)  # (R, L)
        self._slots.token_ids[slots, :length] = token_ids
        positions = self._places[None, begin:length]  # (1, T)
        rows = SlotRows(self._slots, _in_place(sequences, slots), slots, positions, length)
        embedded = self._decoder.embed(token_ids[:, begin:], positions)
        mask = causal_mask(self._places[:length], positions, embedded.dtype)
        hidden = self._decoder(embedded, rows, mask)  # (R, T, d)
        last = self._tensor([s.num_tokens - 1 - begin for s in sequences])
        of_last: Tensor = hidden[self._places[: len(sequences)], last]
        return of_last

    def _tensor(self, values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, device=self._device)


def _in_place(sequences: Rows[Sequence], slots: Tensor) -> slice | Tensor:
    """Slots as a slice where they lie side by side, so that they are read in place."""
    first, last = sequences[0].held_slot, sequences[-1].held_slot
    is_dense = last - first + 1 == len(sequences)
    return slice(first, last + 1) if is_dense else slots
